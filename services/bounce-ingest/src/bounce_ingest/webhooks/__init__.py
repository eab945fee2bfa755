"""Takes the webhooks of providers: each verified as the provider documents, each mapped to our events."""
