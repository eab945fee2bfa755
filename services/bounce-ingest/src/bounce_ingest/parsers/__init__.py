"""Parses mails in processes of their own, with limits on time and memory.

Nothing is imported here: a parser is started often and must not load what it does not need.
"""
