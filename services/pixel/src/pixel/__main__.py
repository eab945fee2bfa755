"""`python -m pixel`."""

from pixel.app import service
from pixel.settings import PixelSettings
from tracepost.runner import main

main(PixelSettings, service)
