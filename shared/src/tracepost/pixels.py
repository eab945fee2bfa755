"""Finds our pixels in HTML, so that a copy that is kept or quoted is none that counts; pure."""

from __future__ import annotations

import re

# Whatever stands before: a mail provider may have put its own proxy's address there, with ours behind it.
_PIXEL = re.compile(r"/o/[A-Za-z0-9_-]{42}\.gif(?![\w.-])")
_IMAGE = re.compile(r"<img\b[^<>]*+>", re.IGNORECASE)


def strip_pixels(html: str) -> str:
    """The HTML without the images of our pixels, all else as it was.

    For the copy of a sent mail that a help desk keeps or quotes: loaded from there, a pixel tells of a reader who is
    our own agent.
    """
    return _IMAGE.sub(_kept, html) if "/o/" in html else html


def _kept(image: re.Match[str]) -> str:
    return "" if _PIXEL.search(image[0]) else image[0]
