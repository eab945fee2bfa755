"""HTTP/1.x as the pixel needs it: a protocol of our own on httptools' parser."""

from pixel.http1.connection import Handler, Request
from pixel.http1.server import serving

__all__ = ["Handler", "Request", "serving"]
