"""Tokens name a delivery, and nobody without the key can make or change one."""

from __future__ import annotations

import base64
import string
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.samples import KEYRING, MESSAGE, modest
from tracepost import tokens
from tracepost.tokens import LIFETIME, TRACK_DAY, TRACK_FULL, Keyring, Purpose

OLD, NEW = b"old root key".ljust(32, b"-"), b"new root key".ljust(32, b"+")
TODAY = date(2026, 3, 4)
ADDRESS = "Ann@example.org"
PIXEL = KEYRING.pixel(MESSAGE, 3, TRACK_DAY, TODAY)
RETURN_PATH = KEYRING.return_path(MESSAGE, 3, ADDRESS, TODAY)
KELVIN = "\N{KELVIN SIGN}"  # its lower case is an ordinary k

ids = st.uuids()
numbers = st.integers(0, 255)
days = st.dates(date(2020, 1, 1), date(2199, 1, 1))


@modest
@given(ids, numbers, numbers, days)
def test_a_pixel_token_names_what_it_was_made_for(message_id: UUID, number: int, flags: int, day: date) -> None:
    claim = KEYRING.verify("pixel", KEYRING.pixel(message_id, number, flags, day), today=day)
    assert claim is not None
    assert (claim.message_id, claim.recipient_no, claim.flags, claim.day) == (message_id, number, flags, day)


@modest
@given(ids, numbers, days, st.emails())
def test_a_return_path_names_what_it_was_made_for(message_id: UUID, number: int, day: date, address: str) -> None:
    claim = KEYRING.verify("return-path", KEYRING.return_path(message_id, number, address, day), today=day)
    assert claim is not None
    assert (claim.message_id, claim.recipient_no, claim.day) == (message_id, number, day)
    assert KEYRING.names(claim, address)
    assert KEYRING.names(claim, f" {address.upper()} ")


def test_a_claim_names_no_other_address() -> None:
    claim = KEYRING.verify("return-path", RETURN_PATH, TODAY)
    assert claim is not None
    others = ["bob@example.org", "ann@example.com", "ann+1@example.org", "", "ann@example.org,bob@example.org"]
    assert not any(KEYRING.names(claim, other) for other in others)


def test_a_pixel_claim_names_nobody() -> None:
    claim = KEYRING.verify("pixel", PIXEL, TODAY)
    assert claim is not None
    assert not KEYRING.names(claim, ADDRESS)


@pytest.mark.parametrize(("purpose", "token"), [("pixel", PIXEL), ("return-path", RETURN_PATH)])
def test_every_flipped_bit_is_noticed(purpose: Purpose, token: bytes) -> None:
    whole = int.from_bytes(token, "big")
    flipped = [(whole ^ 1 << bit).to_bytes(len(token), "big") for bit in range(8 * len(token))]
    assert KEYRING.verify(purpose, token, TODAY)
    assert not any(KEYRING.verify(purpose, each, TODAY) for each in flipped)


@pytest.mark.parametrize("purpose", ["pixel", "return-path"])
@pytest.mark.parametrize("token", [PIXEL, RETURN_PATH])
def test_what_is_cut_or_lengthened_is_refused(purpose: Purpose, token: bytes) -> None:
    others = [token[:end] for end in range(len(token))] + [token + b"\0", token[1:], token + token]
    assert not any(KEYRING.verify(purpose, each, TODAY) for each in others)


def test_a_token_of_one_purpose_is_none_of_another() -> None:
    assert KEYRING.verify("return-path", PIXEL, TODAY) is None
    assert KEYRING.verify("pixel", RETURN_PATH, TODAY) is None
    # Not even where both have one length: the keys differ.
    assert KEYRING.verify("return-path", PIXEL + b"\0\0\0", TODAY) is None
    assert KEYRING.verify("pixel", RETURN_PATH[:21] + RETURN_PATH[-10:], TODAY) is None


def test_a_token_of_another_key_is_refused() -> None:
    other = Keyring({1: NEW})
    assert other.verify("pixel", PIXEL, TODAY) is None
    assert other.verify("return-path", RETURN_PATH, TODAY) is None
    assert Keyring({2: b"one" * 11}).verify("pixel", PIXEL, TODAY) is None


@modest
@given(st.binary(max_size=40))
def test_bytes_of_chance_are_refused(token: bytes) -> None:
    assert KEYRING.verify("pixel", token) is None
    assert KEYRING.verify("return-path", token) is None


@pytest.mark.parametrize(("purpose", "token"), [("pixel", PIXEL), ("return-path", RETURN_PATH)])
def test_a_token_expires_a_year_after_its_day(purpose: Purpose, token: bytes) -> None:
    assert KEYRING.verify(purpose, token, TODAY + LIFETIME)
    assert KEYRING.verify(purpose, token, TODAY + LIFETIME + timedelta(days=1)) is None


def test_a_token_is_made_for_today_and_verified_today_unless_said_otherwise() -> None:
    before = datetime.now(UTC).date()
    claim = KEYRING.verify("pixel", KEYRING.pixel(MESSAGE, 0))
    assert claim is not None
    assert before <= claim.day <= datetime.now(UTC).date()
    assert claim.flags == TRACK_FULL
    assert KEYRING.verify("pixel", KEYRING.pixel(MESSAGE, 0, day=before - LIFETIME - timedelta(days=2))) is None


def test_rotation_signs_with_the_new_key_and_still_knows_the_old() -> None:
    before, during, after = Keyring({1: OLD}), Keyring({1: OLD, 2: NEW}), Keyring({2: NEW})
    old, new = before.return_path(MESSAGE, 0, ADDRESS, TODAY), during.return_path(MESSAGE, 0, ADDRESS, TODAY)
    claim = during.verify("return-path", old, TODAY)
    assert claim is not None
    assert claim.kid == 1
    assert during.names(claim, ADDRESS)
    assert (new[0], new) == (2, after.return_path(MESSAGE, 0, ADDRESS, TODAY))
    assert after.verify("return-path", new, TODAY)
    assert after.verify("return-path", old, TODAY) is None
    assert before.verify("return-path", new, TODAY) is None


def test_address_keys_survive_a_rotation_and_spell_an_address_one_way() -> None:
    before, during = Keyring({1: OLD}), Keyring({1: OLD, 2: NEW})
    assert during.address_key(ADDRESS) == before.address_key(" ann@EXAMPLE.org ")
    assert before.address_key(ADDRESS) != Keyring({1: NEW}).address_key(ADDRESS)
    assert before.address_key(ADDRESS) != before.address_key("bob@example.org")
    assert len(bytes.fromhex(before.address_key(ADDRESS))) == 32


@pytest.mark.parametrize("roots", [{}, {1: b"k" * 31}, {256: OLD}, {-1: OLD}, {1: OLD, 2: b"short"}])
def test_keys_that_cannot_be_used_are_refused(roots: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring(roots)


def test_tokens_and_address_keys_are_the_same_in_every_version() -> None:
    # Other values here would cut off every mail that is on its way, and every suppression.
    assert tokens.to_url(PIXEL) == "AQGJCl2slndLvM6zAgmagFcDAQjOZbwUX1y7IKoPyw"
    assert tokens.to_local_part(RETURN_PATH) == "b+aeayscs5vslhos54z2zqecm2qblqgaaizyduniix2rfp3kjzopg7y3a"
    assert KEYRING.address_key(ADDRESS) == "eca2be7dd19a8ef3f60dbaaa2a04c9eb15ec17938269a2aff71a53c02a35716f"


def test_lengths() -> None:
    assert (len(PIXEL), len(tokens.to_url(PIXEL))) == (31, 42)
    local = tokens.to_local_part(RETURN_PATH)
    assert (len(RETURN_PATH), len(local), local[:2]) == (34, 57, "b+")
    assert len(local) <= 64  # RFC 5321, 4.5.3.1.1
    assert set(local[2:]) <= set(string.ascii_lowercase + "234567")


@modest
@given(st.binary(min_size=1, max_size=40))
def test_spellings_read_back(token: bytes) -> None:
    assert tokens.from_url(tokens.to_url(token)) == token
    assert tokens.from_local_part(tokens.to_local_part(token)) == token


@modest
@given(st.text(max_size=60))
@example("")
@example("=")
@example("ab==")
@example("A")
@example("+/+/")
@example(tokens.to_url(PIXEL) + "\n")
@example(tokens.to_url(PIXEL) + "==")
def test_a_token_has_one_spelling_in_a_url(text: str) -> None:
    token = tokens.from_url(text)
    assert not token or tokens.to_url(token) == text


def test_the_last_character_of_a_url_is_not_free() -> None:
    text = tokens.to_url(PIXEL)
    alphabet = string.ascii_letters + string.digits + "-_"
    again = [last for last in alphabet if tokens.from_url(text[:-1] + last) == PIXEL]
    assert again == [text[-1]]


def test_the_last_character_of_a_local_part_is_not_free() -> None:
    text = tokens.to_local_part(RETURN_PATH)
    again = [
        last for last in string.ascii_lowercase + "234567" if tokens.from_local_part(text[:-1] + last) == RETURN_PATH
    ]
    assert again == [text[-1]]


@modest
@given(st.lists(st.booleans(), min_size=57, max_size=57))
def test_a_local_part_may_change_its_case_on_the_way(upper: list[bool]) -> None:
    text = tokens.to_local_part(RETURN_PATH)
    changed = "".join(char.upper() if up else char for char, up in zip(text, upper, strict=True))
    assert tokens.from_local_part(changed) == RETURN_PATH


@modest
@given(st.text(max_size=70) | st.text(max_size=60).map("b+{}".format))
@example("b+")
@example("b+=")
@example("b+\udcff")
@example("b+\N{LATIN SMALL LETTER LONG S}")
def test_a_local_part_that_is_no_token_gives_none(text: str) -> None:
    token = tokens.from_local_part(text)
    assert not token or tokens.to_local_part(token) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        tokens.to_local_part(RETURN_PATH)[2:],
        "c+" + tokens.to_local_part(RETURN_PATH)[2:],
        tokens.to_local_part(RETURN_PATH) + " ",
        tokens.to_local_part(RETURN_PATH) + "=",
        tokens.to_local_part(RETURN_PATH)[:-1],
        " " + tokens.to_local_part(RETURN_PATH),
    ],
)
def test_what_is_almost_a_local_part_gives_no_token(text: str) -> None:
    assert KEYRING.verify("return-path", tokens.from_local_part(text), TODAY) is None


def test_only_ascii_spells_a_token() -> None:
    token = base64.b32decode("K" * 56)[:34]
    text = tokens.to_local_part(token)
    assert tokens.from_local_part(text.replace("k", KELVIN)) == b""


@modest
@given(said=st.binary(max_size=100), seconds=st.integers(1, 10**6))
def test_what_is_sealed_is_read_until_it_ends_for_its_purpose_alone(said: bytes, seconds: int) -> None:
    ends = datetime(2026, 3, 4, tzinfo=UTC) + timedelta(seconds=seconds)
    sealed = KEYRING.seal("view", said, ends)
    just_before = ends - timedelta(seconds=1)
    assert KEYRING.unseal("view", sealed, just_before) == (said, ends)
    assert KEYRING.unseal("view", sealed, ends) is None
    assert KEYRING.unseal("session", sealed, just_before) is None
    assert KEYRING.unseal("view", sealed[:-1], just_before) is None
    assert Keyring({1: b"x" * 32}).unseal("view", sealed, just_before) is None
