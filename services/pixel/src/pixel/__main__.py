"""`python -m pixel`."""

from pixel.app import service, watch
from pixel.settings import PixelSettings
from tracepost.runner import main

main(PixelSettings, service, watch)
