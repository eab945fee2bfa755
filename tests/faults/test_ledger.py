"""The comparison itself: whatever is missing, wrong or too much is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.ledger import Entry, Seen, Verdict, compare

WELL = Seen(
    status="delivered", queried="delivered", told="delivered", answered=True, delivery="done", copies=1, unknown=0
)


def verdict(seen: Seen | None, kind: str = "delivered", *, confirmed: bool = True) -> Verdict:
    entry = Entry(kind, confirmed=confirmed)
    return compare([entry], {entry.message_id: seen} if seen else {}, [])


def test_what_is_as_it_should_be_is_clean() -> None:
    assert verdict(WELL) == Verdict(confirmed=1)


@pytest.mark.parametrize(
    "seen",
    [
        None,
        replace(WELL, status=None),
        replace(WELL, status="deferred"),
        replace(WELL, queried="queued"),
        replace(WELL, told=None),
        replace(WELL, answered=False),
        replace(WELL, delivery="in_doubt"),
        replace(WELL, delivery=None),
        replace(WELL, copies=0),
    ],
)
def test_what_is_missing_is_lost(seen: Seen | None) -> None:
    found = verdict(seen)
    assert (len(found.lost), found.unexpected) == (1, [])


def test_what_was_never_delivered_and_so_never_opened_is_lost() -> None:
    assert len(verdict(replace(WELL, status="queued", queried="queued", told="queued"), "read").lost) == 3


@pytest.mark.parametrize("seen", [replace(WELL, status="hard_bounce"), replace(WELL, told="read")])
def test_another_outcome_is_unexpected(seen: Seen) -> None:
    found = verdict(seen)
    assert (found.lost, len(found.unexpected)) == ([], 1)


def test_an_extra_copy_needs_an_unknown_outcome_on_the_record() -> None:
    assert not verdict(replace(WELL, copies=2)).clean
    assert not verdict(replace(WELL, copies=3, unknown=1)).clean
    told = verdict(replace(WELL, copies=2, unknown=1))
    assert (told.clean, told.duplicated, told.unknown, told.recovered) == (True, 1, 1, 1)


def test_what_was_not_confirmed_is_owed_to_nobody_but_may_be_there() -> None:
    assert verdict(None, confirmed=False).clean
    assert verdict(replace(WELL, answered=False), confirmed=False).clean


def test_what_nobody_asked_for_is_unexpected() -> None:
    assert compare([], {}, ["message x"]).unexpected == ["message x"]
