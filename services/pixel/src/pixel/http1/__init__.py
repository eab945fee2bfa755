"""HTTP/1.x as the pixel needs it: sockets and a protocol of our own, around httptools' parser."""

from pixel.http1.connection import Handler, Request
from pixel.http1.server import serving

__all__ = ["Handler", "Request", "serving"]
