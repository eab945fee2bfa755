"""Looks for mails that break a promise of `understand`, guided by the branches that they take (atheris, libFuzzer)."""
