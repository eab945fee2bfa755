"""What a provider's refusal means: by the server's words first, then by the provider's code, then by the server's."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from bounce_ingest.reading.diagnosis import recipient
from tracepost.bounces.classify import Cause, rules

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def refusal(
    provider: str, words: str, *, status: str = "", category: str | None = None, otherwise: str | None = None
) -> dict[str, Any]:
    """The fields of a `bounced` or `deferred` event.

    `status` is an enhanced code, `category` what the provider's own code means, `otherwise` what it means where
    neither words nor codes say anything; both of the closed list of classes.toml.
    """
    status = status if _ENHANCED.fullmatch(status) else ""
    words = words.removeprefix("smtp;").strip()
    report = recipient(final=None, action="failed", words=words, status=status)
    cause = report.cause
    if category and cause.rule not in _by_words():
        cause = by_provider(provider, category)
    elif otherwise and cause.category == "other":
        cause = by_provider(provider, otherwise)
    return fields(provider, cause) | {
        "smtp_code": report.smtp_code,
        "enhanced_code": report.enhanced_code,
        "diagnostic": report.diagnostic,
    }


def held_back(provider: str, words: str, category: str = "policy") -> dict[str, Any]:
    """The fields of the `bounced` event of what the provider did not even try: no server has said anything."""
    cause = by_provider(provider, category)
    return fields(provider, Cause(cause.bounce_class, cause.category, f"{provider}-not-tried")) | {"diagnostic": words}


def by_provider(provider: str, category: str) -> Cause:
    """A cause that the provider states."""
    return Cause(_classes()[category], category, f"{provider}-{category.replace('_', '-')}")


def fields(provider: str, cause: Cause) -> dict[str, Any]:
    """What an event says of a cause."""
    return {
        "bounce_class": cause.bounce_class,
        "category": cause.category,
        "rule": cause.rule,
        "origin": f"webhook:{provider}",
    }


@cache
def _by_words() -> frozenset[str]:
    return frozenset(rule.cause.rule for rule in rules() if rule.text)


@cache
def _classes() -> dict[str, Any]:
    return {rule.cause.category: rule.cause.bounce_class for rule in rules()}
