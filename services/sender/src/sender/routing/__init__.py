"""Decides where mail goes: relays, or the servers that a domain names in DNS; how they are spoken to; pure."""
