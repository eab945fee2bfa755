"""Scores how returned mail is understood, on a folder of real mails with their truth, beside other parsers."""
