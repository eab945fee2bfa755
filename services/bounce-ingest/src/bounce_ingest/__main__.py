"""`python -m bounce_ingest`, and `python -m bounce_ingest pipe [address …]`."""

from bounce_ingest.app import main

main()
