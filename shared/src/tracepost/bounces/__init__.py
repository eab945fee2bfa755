"""What a mail server's refusal means."""
