"""Mailboxes are parsed strictly and compared in normal form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.samples import modest
from tracepost.addresses import Mailbox, _validated, normal, parse


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("ann@example.org", "", "ann@example.org"),
        ("Ann.Other+tag@EXAMPLE.org", "", "Ann.Other+tag@example.org"),
        ("<ann@example.org>", "", "ann@example.org"),
        ("Ann <ann@example.org>", "Ann", "ann@example.org"),
        ("Ann O'Neil <ann@example.org>", "Ann O'Neil", "ann@example.org"),
        ('"Other, Ann" <ann@example.org>', "Other, Ann", "ann@example.org"),
        ('"Ann \\"Q\\" \\\\" <ann@example.org>', 'Ann "Q" \\', "ann@example.org"),
        ('"Ärger, Ann" <ann@example.org>', "Ärger, Ann", "ann@example.org"),
        ('"<bob@example.org>" <ann@example.org>', "<bob@example.org>", "ann@example.org"),
        ('"a b"@example.org', "", '"a b"@example.org'),
        ('"ann"@example.org', "", "ann@example.org"),
        ("ann@simulator.test", "", "ann@simulator.test"),
        ("ann@bücher.example", "", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "", "ann@xn--bcher-kva.example"),
        ("ann@BÜCHER.example", "", "ann@xn--bcher-kva.example"),
        ("Jörg <jörg@bücher.example>", "Jörg", "jörg@xn--bcher-kva.example"),
        ("jo\u0308rg@example.org", "", "jörg@example.org"),
    ],
)
def test_a_mailbox_is_understood(text: str, name: str, address: str) -> None:
    assert parse(text) == Mailbox(name, address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@example..org",
        "ann@-example.org",
        "ann@example.org.",
        "ann@@example.org",
        "ann other@example.org",
        "ann@exam ple.org",
        "ann@[127.0.0.1]",
        "ann\u202e@example.org",
        "ann\x85@example.org",
        "ann@example.org bob@example.org",
        "ann@example.org, bob@example.org",
        "ann@example.org;bob@example.org",
        "Ann <ann@example.org>, Bob <bob@example.org>",
        "Ann <ann@example.org> Bob",
        "Ann <ann@example.org",
        "alice@example.org)bob@example.net",  # parseaddr of Python 3.11.7 returns alice
        "alice@example.org(bob@example.net",
        "(comment) ann@example.org",
        "undisclosed-recipients:;",
        "ann@example.org\r\nBcc: bob@example.org",
        "ann@example.org\n",
        "ann\0@example.org",
        '"a\r\nb"@example.org',
        '"a\r\nb" <ann@example.org>',
        '"a\0b" <ann@example.org>',
        '"a\ud800" <ann@example.org>',
        "ann@\ud800.example",
        "ann@" + "a" * 64 + ".org",
        "ann@" + "a." * 130 + "org",
    ],
)
def test_what_is_not_one_mailbox_is_a_value_error_that_says_why(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+") as raised:
        parse(text)
    assert type(raised.value) is ValueError


@modest
@given(st.text(max_size=80))
def test_any_text_is_a_mailbox_or_a_value_error(text: str) -> None:
    try:
        mailbox = parse(text)
    except ValueError:
        return
    assert mailbox.address.count("@") >= 1
    assert not set("\r\n\0") & set("".join(mailbox))


@modest
@given(st.emails())
def test_parsing_its_result_changes_nothing(address: str) -> None:
    try:
        once = parse(address).address
    except ValueError:
        return  # the generator knows addresses that we refuse
    assert parse(once).address == once
    assert normal(once) == normal(normal(once))


def test_the_domain_is_told_in_ascii() -> None:
    assert parse("ann@Example.org").domain == "example.org"
    assert parse("ann@bücher.example").domain == "xn--bcher-kva.example"
    assert parse('"a@b"@example.org').domain == "example.org"


def test_the_domain_with_a_sharp_s_stays_itself() -> None:
    assert parse("ann@straße.example").domain == "xn--strae-oqa.example"


def test_two_spellings_of_an_address_are_equal() -> None:
    assert normal(" Ann@Example.ORG\n") == normal("ann@example.org")
    assert normal("ann@example.org") != normal("ann+a@example.org")


LABEL = st.from_regex(r"[A-Za-z0-9_-]{1,65}", fullmatch=True)


@given(st.from_regex(r"[\w.+'!-]{1,66}", fullmatch=True), st.lists(LABEL, min_size=1, max_size=6).map(".".join))
@modest
def test_the_short_way_to_an_address_leads_where_the_library_leads(local: str, domain: str) -> None:
    address = f"{local}@{domain}"
    try:
        meant: str | None = _validated(address)
    except ValueError:
        meant = None
    try:
        found: str | None = parse(address).address
    except ValueError:
        found = None
    assert found == meant
