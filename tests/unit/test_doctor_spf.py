"""SPF records as receivers read them: the verdicts of RFC 7208, its limits, and the record that would mend them."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.samples import modest
from tests.unit.zones import Zone
from tracepost.doctor import spf
from tracepost.doctor.findings import Finding
from tracepost.doctor.spf import Broken, Policy, Verdict

OURS = ip_address("192.0.2.5")
HOSTS = {
    "example.org": ["192.0.2.5"],
    "mx.example.org": ["198.51.100.7", "2001:db8::7"],
    "one.example.org": ["203.0.113.1"],
}


def read(text: str, **others: str) -> Policy:
    """The record of example.org, beside those of `<name>.example`."""
    txt = {"example.org": [text], **{f"{name}.example": [other] for name, other in others.items()}}
    zone = Zone(txt, {"example.org": ["mx.example.org"]}, HOSTS)
    return asyncio.run(spf.read("example.org", zone))


VERDICTS: dict[str, tuple[str, str, Verdict]] = {
    "a network": ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.5", "pass"),
    "outside of it": ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.3.5", "fail"),
    "of IPv6": ("v=spf1 ip6:2001:db8::/32 ~all", "2001:db8:1::1", "pass"),
    "softly": ("v=spf1 ip6:2001:db8::/32 ~all", "192.0.2.5", "softfail"),
    "without an end": ("v=spf1 ip4:198.51.100.1", "192.0.2.5", "neutral"),
    "with nothing": ("v=spf1", "192.0.2.5", "neutral"),
    "the domain's address": ("v=spf1 a -all", "192.0.2.5", "pass"),
    "a network around it": ("v=spf1 a/24 -all", "192.0.2.77", "pass"),
    "another host's": ("v=spf1 a:one.example.org -all", "203.0.113.1", "pass"),
    "the exchanger's": ("v=spf1 mx -all", "198.51.100.7", "pass"),
    "its network of IPv6": ("v=spf1 mx/32//64 -all", "2001:db8::99", "pass"),
    "the first that matches": ("v=spf1 -ip4:192.0.2.5 ip4:192.0.2.0/24 -all", "192.0.2.5", "fail"),
    "included": ("v=spf1 include:relay.example -all", "203.0.113.9", "pass"),
    "an include does not fail": ("v=spf1 include:relay.example ~all", "192.0.2.5", "softfail"),
    "redirected": ("v=spf1 redirect=relay.example", "192.0.2.5", "fail"),
    "an all before a redirect": ("v=spf1 redirect=relay.example ?all", "192.0.2.5", "neutral"),
    "in capitals": ("V=SPF1 IP4:192.0.2.5 -ALL", "192.0.2.5", "pass"),
    "unknown modifiers": ("v=spf1 x-note=a exp=why.example.org ip4:192.0.2.5 -all", "192.0.2.5", "pass"),
    "whoever exists": ("v=spf1 exists:one.example.org -all", "192.0.2.9", "pass"),
    "a macro matches nobody": ("v=spf1 exists:%{i}.example.org -all", "192.0.2.5", "fail"),
}


@pytest.mark.parametrize(("text", "address", "verdict"), VERDICTS.values(), ids=VERDICTS.keys())
def test_a_verdict(text: str, address: str, verdict: Verdict) -> None:
    policy = read(text, relay="v=spf1 ip4:203.0.113.0/24 -all")
    assert spf.verdict(policy, ip_address(address)) == verdict


INVALID = {
    "ip4:192.0.2": "'ip4:192.0.2' holds no network",
    "ip4:2001:db8::1": "write ip6:2001:db8::1",
    "ip6:192.0.2.1": "write ip4:192.0.2.1",
    "include:": "'include:' is no term of SPF",
    "include": "'include' names no domain",
    "include:nobody": "'include:nobody' names no domain",
    "all:example.org": "says more than all may say",
    "a/33": "holds a prefix that is too long",
    "include:example.com/24": "'include:example.com/24'",
    "allow": "'allow' is no term of SPF",
    "redirect=": "'redirect=' names no domain",
    "redirect=a.example redirect=b.example": "gives redirect= twice",
    "ipv4:192.0.2.1": "'ipv4:192.0.2.1' is no term of SPF",
}


@pytest.mark.parametrize("term", INVALID)
def test_a_record_that_is_not_valid_is_told_with_the_term(term: str) -> None:
    with pytest.raises(Broken) as broken:
        read(f"v=spf1 {term} -all")
    assert INVALID[term] in broken.value.found
    assert "example.org" in broken.value.remedy


def broken(zone: Zone) -> Broken:
    with pytest.raises(Broken) as found:
        asyncio.run(spf.read("example.org", zone))
    return found.value


def test_there_is_exactly_one_record() -> None:
    assert "publishes no SPF record" in broken(Zone()).found
    assert "publishes no SPF record" in broken(Zone({"example.org": ["v=spf10 -all", "google-verification=1"]})).found
    assert "publishes 2 SPF records" in broken(Zone({"example.org": ["v=spf1 -all", "v=spf1 a -all"]})).found


def test_what_is_included_must_be_there_and_lead_on() -> None:
    missing = broken(Zone({"example.org": ["v=spf1 include:gone.example -all"]}))
    assert missing.found == "gone.example publishes no SPF record"
    assert missing.remedy.startswith("take gone.example out of the record of example.org")
    deep = Zone({f"{n}.example": [f"v=spf1 include:{n + 1}.example -all"] for n in range(20)})
    with pytest.raises(Broken, match="more than 10 records include each other"):
        asyncio.run(spf.read("0.example", deep))
    circle = Zone({"example.org": ["v=spf1 include:b.example -all"], "b.example": ["v=spf1 include:example.org -all"]})
    assert "leads back" in broken(circle).found


def judged(text: str, *addresses: str, include: str = "", **others: str) -> list[Finding]:
    return spf.judge(read(text, **others), [ip_address(each) for each in addresses], include)


def test_a_good_record_is_told_with_what_it_takes() -> None:
    [found] = judged(
        "v=spf1 mx include:relay.example ~all", "198.51.100.7", include="relay.example", relay="v=spf1 a ~all"
    )
    assert (found.check, found.level, found.remedy) == ("SPF of example.org", "ok", "")
    assert found.found == "v=spf1 mx include:relay.example ~all (3 look-ups)"


def test_whoever_sends_and_is_missing_stands_in_the_record_to_publish() -> None:
    found = judged("v=spf1 a -all", "192.0.2.9", "2001:db8::9", include="relay.example")
    assert [each.level for each in found] == ["error"] * 3
    assert "192.0.2.9, from which we send, gets fail: v=spf1 a -all" in found[0].found
    record = 'example.org. TXT "v=spf1 a ip4:192.0.2.9 ip6:2001:db8::9 include:relay.example -all"'
    assert {each.remedy for each in found} == {f"publish {record}"}


def test_what_a_macro_hides_is_not_called_wrong() -> None:
    [found] = judged("v=spf1 include:relay.example -all", "192.0.2.9", relay="v=spf1 exists:%{i}.relay.example -all")
    assert found.level == "warning"


ENDS = {
    "v=spf1 a +all": ("error", "lets everybody send"),
    "v=spf1 a all": ("error", "lets everybody send"),
    "v=spf1 a ?all": ("warning", "ends in ?all"),
    "v=spf1 a": ("warning", "ends without all"),
    "v=spf1 redirect=relay.example": ("error", "lets everybody send"),
    "v=spf1 ptr -all": ("warning", "uses ptr"),
}


@pytest.mark.parametrize("text", ENDS)
def test_how_it_ends(text: str) -> None:
    [found] = judged(text, relay="v=spf1 +all")
    assert (found.level, ENDS[text][1] in found.found) == (ENDS[text][0], True)
    assert found.remedy


def test_the_limits_of_receivers() -> None:
    relay = " ".join(["a"] * 9)
    assert [each.level for each in judged("v=spf1 include:relay.example ~all", relay=f"v=spf1 {relay} ~all")] != ["ok"]
    ten = judged("v=spf1 include:relay.example ~all", relay="v=spf1 " + "a:one.example.org " * 9 + "~all")
    assert [each.level for each in ten] == ["ok"]
    [eleven] = judged("v=spf1 include:relay.example a ~all", relay="v=spf1 " + "a:one.example.org " * 9 + "~all")
    assert eleven.level == "error"
    assert "takes 11 look-ups" in eleven.found
    assert "include:relay.example alone takes 10" in eleven.found
    [voids] = judged("v=spf1 a:x.example a:y.example a:z.example ~all")
    assert "3 of its names have no address" in voids.found


terms = st.sampled_from(
    [
        "a",
        "mx",
        "-ip4:203.0.113.0/24",
        "~ip4:192.0.2.5",
        "include:relay.example",
        "?a:one.example.org",
        "ip4:198.51.100.0/24",
    ]
)
addresses = st.ip_addresses(v=4).map(str) | st.sampled_from(["192.0.2.5", "203.0.113.1", "198.51.100.7", "2001:db8::7"])


@modest
@given(st.lists(terms, max_size=6), st.sampled_from(["", " -all", " ~all", " redirect=relay.example"]), addresses)
def test_the_record_to_publish_lets_us_send(listed: list[str], end: str, address: str) -> None:
    relay = "v=spf1 ip4:203.0.113.0/28 -all"
    before = read(" ".join(["v=spf1", *listed]) + end, relay=relay)
    wanted = spf.proposed(before, [ip_address(address)], "relay.example")
    text = "".join(re.findall('"([^"]*)"', wanted))
    after = read(text, relay=relay)
    assert spf.verdict(after, ip_address(address)) == "pass"
    assert "relay.example" in spf.included(after)
    assert {each.term.text for each in before.terms} <= {each.term.text for each in after.terms}


@modest
@given(st.text(st.characters(codec="ascii", exclude_characters="\n\r"), max_size=60))
def test_whatever_is_published_has_a_verdict_or_a_reason(text: str) -> None:
    with suppress(Broken):  # which has its reason
        assert spf.verdict(read(f"v=spf1 {text}"), OURS) in {"pass", "fail", "softfail", "neutral"}
        assert judged(f"v=spf1 {text}")
