"""Keeps every event, folds each delivery's into a status, and answers who asks."""
