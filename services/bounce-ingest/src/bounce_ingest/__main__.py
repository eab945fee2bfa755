"""`python -m bounce_ingest`."""

from bounce_ingest.app import service
from bounce_ingest.settings import BounceIngestSettings
from tracepost.runner import main

main(BounceIngestSettings, service)
