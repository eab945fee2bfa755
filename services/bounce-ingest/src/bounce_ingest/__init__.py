"""Turns returned mail and complaints into delivery events."""
