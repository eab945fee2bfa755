"""What a program that works with Tracepost may import."""

from tracepost.pixels import strip_pixels

__all__ = ["strip_pixels"]
