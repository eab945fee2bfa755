"""Other mail servers that the sender is measured against, private to a bench and on loopback only."""
