"""Which addresses are ours, and what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from bounce_ingest.smtp.mailboxes import Mailboxes, Refused
from tests.bouncing import DOMAIN, return_path
from tests.conftest import KEYRING
from tests.unit.samples import modest

OURS = Mailboxes(DOMAIN, KEYRING)
PATH = return_path(uuid7())


def test_a_return_path_says_its_delivery_however_it_is_written() -> None:
    claim = OURS.claim(PATH)
    assert claim
    assert KEYRING.names(claim, "r@example.test")
    assert OURS.claim(PATH.upper()) == claim
    assert OURS.first(["x@other.test", "abuse", PATH]) == claim
    assert OURS.first(["x@other.test", "abuse"]) is None


@pytest.mark.parametrize("address", ["postmaster", "Abuse@" + DOMAIN.upper(), f"fbl@{DOMAIN}"])
def test_fixed_mailboxes_say_nothing(address: str) -> None:
    assert OURS.claim(address) is None


@modest
@given(st.text(max_size=80), st.sampled_from(["", f"@{DOMAIN}", "@example.test"]))
def test_whatever_else_is_refused_for_good(local: str, domain: str) -> None:
    if local.lower() in {"fbl", "abuse", "postmaster"} and "example.test" not in domain[1:13]:
        return
    with pytest.raises(Refused, match=r"^550 5\.(1\.1|7\.1) "):
        OURS.claim(local + domain)


@modest
@given(st.integers(0, PATH.index("@") - 1), st.characters(max_codepoint=0x17F))
def test_no_letter_of_it_may_be_another(place: int, letter: str) -> None:
    altered = PATH[:place] + letter + PATH[place + 1 :]
    if altered.lower() != PATH:
        with pytest.raises(Refused):
            OURS.claim(altered)
