"""Whatever is asked for is what every reader reads, or it is refused with the place and the reason."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings

from sender.compose import compose
from sender.dkim import Unsigned, signed
from tests.signatures import ED25519, by_dkimpy
from tests.unit.fuzzed import check, explained, requests
from tests.unit.mails import IMAGE, TRACKED
from tests.unit.samples import NOON, body
from tracepost.problems import Invalid, Problem
from tracepost.requests import SendRequest, decode


@settings(max_examples=400, deadline=None)
@given(requests())
@example({"sender": "=?utf-8?q?a?= <shop@example.org>", "to": ["jörg@example.org"], "subject": "=?", "html": "\n.\n"})
def test_what_is_asked_for_is_what_is_read_or_the_reason_is_told(fields: dict[str, Any]) -> None:
    asked = told(body(**fields))
    if isinstance(asked, Problem):
        assert explained(asked, fields)
        return
    mail = signed(Unsigned(compose(asked, TRACKED, NOON), (ED25519,), NOON))
    assert by_dkimpy(mail, (ED25519,)) == [True]
    check(asked, mail, IMAGE)


def told(asked: bytes) -> SendRequest | Problem:
    try:
        return decode(asked)
    except Invalid as error:
        return error.problem
