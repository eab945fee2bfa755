"""MTA-STS: records and policies as RFC 8461 writes them, and which servers they let have the mail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.outcome import Unroutable
from sender.routing import security, sts
from sender.routing.mx import Server
from sender.routing.sts import REFRESH_SECONDS, Kept, Policy

POLICY = """version: STSv1
mode: enforce
mx: mail.example.com
mx: *.example.net
max_age: 604800
"""
ENFORCED = Policy("enforce", ("mail.example.com", "*.example.net"), 604800)
DAY = 86_400


@pytest.mark.parametrize(
    ("texts", "id_"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=a"], "a"),
        (["v=spf1 -all", "v=STSv1; id=1; later=field;"], "1"),
        (["v=STSv1; id=1;", "v=STSv1; id=2;"], None),  # then there is none (3.1)
        (["v=STSv1; id=;"], None),
        (["v=STSv1; id=1-2;"], None),
        (["v=STSv1;"], None),
        (["v=STSv2; id=1"], None),
        (["V=STSV1; id=1"], None),
        ([""], None),
        ([], None),
    ],
)
def test_one_record_gives_the_id(texts: list[str], id_: str | None) -> None:
    assert sts.record_id(texts) == id_


def test_a_policy_is_read() -> None:
    assert sts.read(POLICY) == sts.read(POLICY.replace("\n", "\r\n")) == ENFORCED
    assert sts.read("version:STSv1\nmode:none\nmax_age:0") == Policy("none", (), 0)
    assert sts.read(POLICY + "mode: none\nlater: field\n").mode == "enforce"
    assert sts.read(POLICY.replace("604800", "9999999999")).max_age == sts.MOST_SECONDS


@pytest.mark.parametrize(
    ("now", "then", "words"),
    [
        ("STSv1", "STSv2", "version"),
        ("mode: enforce", "mode: maybe", "mode 'maybe'"),
        ("mode: enforce\n", "", "mode"),
        ("604800", "soon", "max_age 'soon'"),
        ("604800", "-1", "max_age"),
        ("max_age: 604800\n", "", "max_age"),
        ("mx: mail.example.com\nmx: *.example.net\n", "", "names no mx"),
        ("*.example.net", "mail.*.net", "no host"),
        ("*.example.net", "*", "no host"),
        ("mode: enforce", "<html>", "no `name: value`"),
    ],
)
def test_a_policy_that_is_none_is_explained(now: str, then: str, words: str) -> None:
    assert now in POLICY
    with pytest.raises(ValueError, match=r"^has|^names") as raised:
        sts.read(POLICY.replace(now, then))
    assert words in str(raised.value)


@given(st.text(max_size=200) | st.lists(st.sampled_from(POLICY.splitlines())).map("\n".join))
def test_whatever_is_read_is_a_policy_or_refused(text: str) -> None:
    try:
        policy = sts.read(text)
    except ValueError:
        return
    assert policy.mx or policy.mode == "none"


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("mail.example.com", True),
        ("a.example.net", True),
        ("a.b.example.net", False),
        ("example.net", False),
        (".example.net", False),
        ("a.mail.example.com", False),
        ("evil.example", False),
        ("mail.example.com.evil.example", False),
    ],
)
def test_a_star_stands_for_one_label(host: str, is_allowed: bool) -> None:
    assert ENFORCED.allows(host) is is_allowed


def test_a_policy_is_fetched_again_for_another_id_or_when_it_grows_old() -> None:
    kept = Kept(ENFORCED, "1", fetched_at=1000)
    assert kept.is_fresh("1", 1000 + REFRESH_SECONDS - 1)
    assert kept.is_fresh(None, 1000 + REFRESH_SECONDS - 1)  # DNS could not be asked, or says nothing any more
    assert not kept.is_fresh("2", 1001)
    assert not kept.is_fresh("1", 1000 + REFRESH_SECONDS)
    assert kept.until == 1000 + 604800
    assert not Kept(Policy("testing", ("a.test",), 60), "1", 1000).is_fresh("1", 1031)


SERVERS = [Server(10, "mx.evil.example", ["::1"]), Server(20, "mail.example.com", ["::2"])]


def test_an_enforced_policy_leaves_its_own_servers() -> None:
    assert security.allowed("example.com", SERVERS, ENFORCED) == SERVERS[1:]
    assert security.allowed("example.com", SERVERS, None) == SERVERS
    for mode in ("testing", "none"):
        assert security.allowed("example.com", SERVERS, Policy(mode, ("x.test",), DAY)) == SERVERS


def test_a_policy_that_leaves_none_puts_the_mail_off() -> None:
    found = security.allowed("example.com", SERVERS[:1], ENFORCED)
    assert isinstance(found, Unroutable)
    assert (found.cause.category, found.cause.rule, found.lasting) == ("tls_required", "sts-mx-mismatch", False)
    assert "mx.evil.example" in found.reason


def test_certificates_are_verified_where_policy_or_setting_demand_it() -> None:
    assert security.is_verified("example.com", ENFORCED, ())
    assert security.is_verified("example.com", None, ("example.com",))
    assert security.is_verified("example.com", None, ("*",))
    assert not security.is_verified("example.com", None, ("example.org",))
    assert not security.is_verified("example.com", Policy("testing", ("a.test",), DAY), ())
