"""Decides who loaded a pixel, by the first row of a table that applies; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from tracepost.events import Verdict


class Rule(NamedTuple):
    """`pattern` is searched in the user agent; `client` is what an agent is told."""

    name: str
    verdict: Verdict
    client: str | None
    pattern: re.Pattern[str]


def _rule(name: str, verdict: Verdict, client: str | None, pattern: str) -> Rule:
    return Rule(name, verdict, client, re.compile(pattern, re.IGNORECASE))


# The proxies that carry real opens come first: lists of crawlers name them too.
RULES = (
    _rule("gmail-image-proxy", "proxied", "Gmail", r"GoogleImageProxy|ggpht\.com"),
    _rule("yahoo-image-proxy", "proxied", "Yahoo Mail", r"YahooMailProxy"),
    # Apple's privacy proxy sends nothing but this, for every image, soon after delivery.
    _rule("apple-privacy", "prefetched", "Apple Mail privacy", r"^Mozilla/5\.0$"),
    _rule("security-scanner", "bot", None, r"proofpoint|barracuda|mimecast|safelinks|urldefense"),
    _rule("crawler", "bot", None, r"(?<!cu)bot\b|crawl|spider|curl/|wget/|python-|java/|go-http-client|headless"),
    _rule("thunderbird", "person", "Thunderbird", r"Thunderbird/"),
    _rule("outlook", "person", "Outlook", r"Microsoft Outlook|MSOffice|Outlook-(iOS|Android)"),
    _rule("apple-mail", "person", "Apple Mail", r"AppleWebKit/[\d.]+ \(KHTML, like Gecko\)( Mobile/\w+)?$"),
    _rule("browser", "person", "a browser", r"(Chrome|Firefox|Safari|Edg|OPR)/"),
)

PREFETCH_HINTS = ("Sec-Purpose", "Purpose", "X-Moz", "X-Purpose")


def counts(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the request can be an open at all: not a HEAD, not a browser looking ahead."""
    hints = " ".join(headers.get(name, "") for name in PREFETCH_HINTS).lower()
    return method == "GET" and "prefetch" not in hints and "preview" not in hints


def judge(user_agent: str) -> tuple[Verdict, str, str | None]:
    """The verdict, the rule's name and the client in words."""
    for rule in RULES:
        if rule.pattern.search(user_agent):
            return rule.verdict, rule.name, rule.client
    return "unknown", "no-rule" if user_agent else "no-user-agent", None


def plain(ip: str) -> IPv4Address | IPv6Address:
    """The address, an IPv4 one on an IPv6 socket as what it is; ValueError for anything else."""
    address = ip_address(ip)
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def truncated(ip: str) -> str | None:
    """The network of an address, /24 or /48: more never leaves the pixel."""
    try:
        address = plain(ip)
    except ValueError:
        return None
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))
