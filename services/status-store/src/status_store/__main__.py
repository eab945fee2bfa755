"""`python -m status_store`."""

from status_store.app import service, upkeep
from status_store.settings import StatusStoreSettings
from tracepost.runner import main

main(StatusStoreSettings, service, upkeep=upkeep)
