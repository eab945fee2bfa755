"""Outcomes are counted by destination for the watched ones, the rest together; keys tell since when they sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from sender import watch
from tests.signatures import ED25519, RSA
from tracepost.dkim_private import Key
from tracepost.events import Bounced, Complained, Data, Delivered

HARD = Bounced(bounce_class="hard", category="invalid_recipient", diagnostic="550 no such user", origin="dsn")
WATCHED = ("gmail.com",)


def counted(domain: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("tracepost_outcomes_total", {"domain": domain, "outcome": outcome}) or 0


@pytest.mark.parametrize(
    ("destination", "data", "domain", "outcome"),
    [
        ("gmail.com", Delivered(origin="smtp"), "gmail.com", "delivered"),
        ("gmail.com", HARD, "gmail.com", "hard"),
        ("example.org", HARD, "other", "hard"),
        ("gmail.com", Complained(feedback_type="abuse", origin="arf"), "gmail.com", "complaint"),
    ],
)
def test_an_outcome_counts_for_its_domain(destination: str, data: Data, domain: str, outcome: str) -> None:
    before = counted(domain, outcome)
    watch.count(WATCHED, destination, data)
    assert counted(domain, outcome) == before + 1


def all_counts() -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "tracepost_outcomes_total"
    )


def test_what_is_no_outcome_does_not_count() -> None:
    before = all_counts()
    watch.count(WATCHED, "gmail.com", Complained(feedback_type="not-spam", origin="arf"))
    assert all_counts() == before


def began(domain: str, algorithm: str) -> float | None:
    labels = {"domain": domain, "algorithm": algorithm}
    return REGISTRY.get_sample_value("tracepost_dkim_key_began_timestamp_seconds", labels)


def test_a_key_tells_since_when_it_signs_and_the_next_one_not_before_its_day() -> None:
    now = datetime.now(UTC)
    last, next_ = now - timedelta(days=400), now + timedelta(days=3)
    rsa = [Key("watch.example", name, RSA.private, begins) for name, begins in (("old", last), ("new", next_))]
    watch.keys({"watch.example": [*rsa, Key("watch.example", "ed", ED25519.private)]})
    assert began("watch.example", "rsa") == last.timestamp()
    assert began("watch.example", "ed25519") == 0
