"""What is said of exchangers, sending addresses and the tracking host."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.samples import modest
from tracepost.doctor.domains import Answer, Exchange, generic, replies, returns, reverse, tracking

OURS, OTHER = ip_address("192.0.2.5"), ip_address("192.0.2.6")
MX = [Exchange(10, "mx.example.org")]


def test_replies_have_somewhere_to_go() -> None:
    assert replies("example.org", MX, [OURS]).level == "ok"
    assert replies("example.org", [], [OURS]).level == "warning"
    null = replies("example.org", [Exchange(0, "")], [OURS])
    assert (null.level, "null MX" in null.found) == ("error", True)
    nothing = replies("example.org", [], [])
    assert nothing.level == "error"
    assert nothing.remedy == "publish example.org. MX 10 <the server that takes mail for the domain>."


def test_returned_mail_comes_to_us() -> None:
    ours = Answer("mx.example.org", [OURS], greeting="220 mx.example.org Tracepost")
    assert [each.level for each in returns("b.example.org", MX, [ours])] == ["ok"]
    implicit = returns("b.example.org", [], [Answer("b.example.org", [OURS], greeting="220 b Tracepost")])
    assert [each.level for each in implicit] == ["ok", "warning"]
    [nothing] = returns("b.example.org", [], [Answer("b.example.org")])
    assert (nothing.level, nothing.remedy) == ("error", "publish b.example.org. MX 10 <the host of bounce-ingest>.")
    assert returns("b.example.org", [Exchange(0, "")], [])[0].level == "error"


FAULTS = {
    "another server": (Answer("m", [OURS], greeting="220 m ESMTP Postfix"), "warning", "ESMTP Postfix"),
    "nobody": (Answer("m", [OURS], fault="nobody answers"), "error", "nobody answers"),
    "no address": (Answer("m"), "error", "has no address"),
    "a CNAME": (Answer("m", [OURS], alias="real.example.org"), "error", "is a CNAME of real.example.org"),
}


@pytest.mark.parametrize(("answer", "level", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_an_exchanger_that_is_not_ours(answer: Answer, level: str, words: str) -> None:
    [found] = returns("b.example.org", [Exchange(10, "m")], [answer])
    assert (found.level, words in found.found) == (level, True)
    assert found.remedy


def test_a_sending_address_has_a_name_that_has_the_address() -> None:
    good = {"mx.example.org": [OURS]}
    assert reverse(OURS, ["mx.example.org"], good, "mx.example.org").level == "ok"
    assert reverse(OURS, ["mx.example.org"], good, "").level == "ok"
    other = reverse(OURS, ["mx.example.org"], good, "app.example.org")
    assert (other.level, other.remedy.startswith("set HOSTNAME to mx.example.org")) == ("warning", True)
    unconfirmed = reverse(OURS, ["mx.example.org"], {"mx.example.org": [OTHER]}, "")
    assert (unconfirmed.level, "does not have this address" in unconfirmed.found) == ("error", True)
    nameless = reverse(OURS, [], {}, "mx.example.org")
    assert nameless.level == "error"
    assert "5.2.0.192.in-addr.arpa. PTR mx.example.org." in nameless.remedy
    assert "mx.example.org. A 192.0.2.5" in nameless.remedy
    made = {"host-192-0-2-5.isp.example": [OURS]}
    assert reverse(OURS, list(made), made, "").level == "warning"


GENERIC = {
    "192-0-2-5.isp.example": "192.0.2.5",
    "5.2.0.192.isp.example": "192.0.2.5",
    "ip192-000-002-005.isp.example": "192.0.2.5",
    "c0000205.isp.example": "192.0.2.5",
    "dynamic-17.isp.example": "192.0.2.5",
    "a.pool.isp.example": "192.0.2.5",
    "dsl12.isp.example": "192.0.2.5",
    "2001-0db8-0000-0000-0001-0002-0003-0009.isp.example": "2001:db8::1:2:3:9",
}
NOT_GENERIC = {
    "mail-192.example.org": "192.0.2.5",
    "mx2.example.org": "192.0.2.5",
    "o1.send.example.org": "192.0.2.5",
    "poolside.example.org": "192.0.2.5",
    "smtp-out-5-2.example.org": "192.0.2.5",
    "mx.example.org": "2001:db8::9",
}


def test_names_that_are_made_by_rule() -> None:
    assert all(generic(name, ip_address(address)) for name, address in GENERIC.items())
    assert not any(generic(name, ip_address(address)) for name, address in NOT_GENERIC.items())


@modest
@given(st.ip_addresses(v=4))
def test_a_name_that_holds_the_address_is_generic(address: object) -> None:
    dashed = str(address).replace(".", "-")
    assert generic(f"host-{dashed}.isp.example", ip_address(str(address)))


def test_the_tracking_host() -> None:
    assert [each.level for each in tracking("p.org", [OURS], "", https=True, left=timedelta(90), fault="")] == [
        "ok"
    ] * 2
    gone = tracking("p.org", [], "cdn.example.org", https=True, left=None, fault="")
    assert [(each.level, each.found) for each in gone] == [("error", "points at cdn.example.org, which has no address")]
    levels = [
        (tracking("p.org", [OURS], "", https=False, left=None, fault="")[1].level, "warning"),
        (tracking("p.org", [OURS], "", https=True, left=timedelta(3), fault="")[1].level, "warning"),
        (tracking("p.org", [OURS], "", https=True, left=None, fault="expired")[1].level, "error"),
    ]
    assert all(found == wanted for found, wanted in levels)
