"""Takes send requests from a queue, sends them by SMTP and reports each outcome."""
