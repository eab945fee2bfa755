"""Makes plain text of HTML, good enough to find words and addresses in it."""

from __future__ import annotations

import html
import re

_UNSEEN = tuple(
    (re.compile(begin, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for begin, end in (("<style", "</style>"), ("<script", "</script>"), ("<head", "</head>"), ("<!--", "-->"))
)
# An address in brackets is no tag: those who forget to escape it mean it to be seen.
_TAGS = re.compile(r"<[^<>@]{1,2000}>|<[a-zA-Z][a-zA-Z0-9]{0,20}\s[^<>]{0,2000}>")
_BLOCKS = re.compile(r"(?i)<(?:br|/?p|/?div|/?tr|/?li|/?h\d|/?table|/?ul|hr|/?pre|/?blockquote)\b[^<>]{0,500}>")


def plain_text(rich: str) -> str:
    """A line for each block."""
    for begin, end in _UNSEEN:
        rich = _without(rich, begin, end)
    lines = _BLOCKS.sub("\n", rich.replace("\n", " "))
    return html.unescape(_TAGS.sub(" ", lines)).replace("\N{NO-BREAK SPACE}", " ")


def _without(text: str, begin: re.Pattern[str], end: re.Pattern[str]) -> str:
    """The text without all that stands between these; one expression for both would take quadratic time."""
    kept, at = [], 0
    while begun := begin.search(text, at):
        kept.append(text[at : begun.start()])
        ended = end.search(text, begun.end())
        at = ended.end() if ended else len(text)
    return "".join((*kept, text[at:]))
