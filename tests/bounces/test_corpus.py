"""The real mails, read where they lie: what has been reached is not lost again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bounces.__main__ import left_out
from tests.bounces.corpus import Mail, read
from tests.bounces.readers import Reading, ours
from tests.bounces.score import Score, by, score
from tests.conftest import ROOT

FOLDER = Path(os.environ.get("TRACEPOST_CORPUS", ROOT / "../shared/corpus/bounces"))

pytestmark = pytest.mark.skipif(
    not (FOLDER / "manifest.jsonl").exists(), reason="needs the real bounces: name their folder in TRACEPOST_CORPUS"
)


@pytest.fixture(scope="module")
def mails() -> list[Mail]:
    return read(FOLDER)


@pytest.fixture(scope="module")
def readings(mails: list[Mail]) -> list[Reading]:
    return ours(mails)


def shares(of: Score) -> tuple[float, float]:
    return of.found / of.found_of, of.exact / of.exact_of


def test_recipients(mails: list[Mail], readings: list[Reading]) -> None:
    found, exact = shares(score(mails, readings))
    assert found >= 0.99
    assert exact >= 0.985


def test_vendor_formats(mails: list[Mail], readings: list[Reading]) -> None:
    found, exact = shares(by([mail.kind for mail in mails], mails, readings)["vendor"])
    assert found >= 0.97
    assert exact >= 0.97


def test_dead_addresses(mails: list[Mail], readings: list[Reading]) -> None:
    total = score(mails, readings)
    assert total.hard / total.hard_of >= 0.95


def test_what_is_no_bounce(mails: list[Mail], readings: list[Reading]) -> None:
    total = score(mails, readings)
    assert total.given_for_non_bounces == 0
    assert (total.complaints, total.auto_replies) == (total.complaints_of, total.auto_replies_of)


def test_formats_that_nobody_has_described(mails: list[Mail], readings: list[Reading]) -> None:
    found, _ = shares(score(mails, left_out(mails, readings)))
    assert found >= 0.93


def test_no_mail_takes_long(readings: list[Reading]) -> None:
    assert max(reading.seconds for reading in readings) < 1
