"""Looks at what must be right before mail goes out (settings, servers, DNS), and tells what to do about the rest."""
