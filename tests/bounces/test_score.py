"""The scores themselves: a parser that is wrong must not look right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bounces.corpus import Mail, read
from tests.bounces.readers import Reading
from tests.bounces.score import score

ANN, BOB = frozenset({"ann@customer.example"}), frozenset({"bob@customer.example", "bob@internal.example"})


def mail(kind: str = "dsn", recipients: tuple[frozenset[str], ...] = (ANN, BOB), dead: bool | None = True) -> Mail:
    return Mail(Path("1.eml"), kind, "test/1", b"", recipients, (dead,) * len(recipients))


def named(*recipients: frozenset[str], hard: bool = True) -> Reading:
    return Reading(tuple((each, hard) for each in recipients))


@pytest.mark.parametrize(
    ("reading", "found", "exact", "hard"),
    [
        (named(ANN, frozenset({"bob@internal.example"})), 2, 1, 2),
        (named(ANN, BOB, hard=False), 2, 1, 0),
        (named(ANN), 1, 0, 1),
        (named(ANN, BOB, frozenset({"carl@customer.example"})), 2, 0, 2),
        (named(), 0, 0, 0),
    ],
)
def test_recipients(reading: Reading, found: int, exact: int, hard: int) -> None:
    total = score([mail()], [reading])
    assert (total.found, total.found_of) == (found, 2)
    assert (total.exact, total.exact_of) == (exact, 1)
    assert (total.hard, total.hard_of) == (hard, 2)


def test_what_is_not_labelled_is_not_scored() -> None:
    assert score([mail(dead=None)], [named(ANN, BOB)]).hard_of == 0
    assert score([mail(recipients=())], [named(ANN)]).exact_of == 0


@pytest.mark.parametrize("kind", ["non-bounce", "auto-reply", "mdn", "delivered"])
def test_an_address_for_what_is_no_bounce_is_wrong(kind: str) -> None:
    total = score([mail(kind, ())], [named(ANN)])
    assert (total.given_for_non_bounces, total.non_bounces) == (1, 1)


def test_complaints_and_automatic_replies() -> None:
    total = score(
        [mail("arf", ()), mail("arf", ()), mail("auto-reply", ())],
        [Reading(is_complaint=True), Reading(), Reading(is_auto_reply=True)],
    )
    assert (total.complaints, total.complaints_of, total.auto_replies, total.auto_replies_of) == (1, 2, 1, 1)


def test_a_manifest_of_another_form_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"path": "1.eml"}) + "\n")
    with pytest.raises(ValueError, match=r"manifest\.jsonl:1: KeyError"):
        read(tmp_path)
