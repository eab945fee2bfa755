"""DMARC: which record holds, what is wrong with it, and who is aligned with a sender."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.samples import modest
from tests.unit.zones import Zone
from tracepost.doctor import dmarc
from tracepost.doctor.dmarc import Walk
from tracepost.doctor.findings import Finding

GOOD = "v=DMARC1; p=reject; rua=mailto:dmarc@example.org"


def walk(domain: str, **texts: str) -> Walk:
    """Of a domain, when these records are published; `__` in a name stands for a dot."""
    txt = {f"_dmarc.{name.replace('__', '.')}": [text] for name, text in texts.items()}
    return asyncio.run(dmarc.walk(domain, Zone(txt)))


def test_the_record_of_the_organization_holds_below_it() -> None:
    found = walk("shop.mail.example.org", example__org=GOOD)
    assert (found.source, found.organization) == ("example.org", "example.org")
    own = walk("shop.mail.example.org", example__org=GOOD, shop__mail__example__org="v=DMARC1; p=none")
    assert (own.source, own.organization) == ("shop.mail.example.org", "example.org")
    nothing = walk("shop.example.org")
    assert (nothing.records, nothing.organization) == ((), "shop.example.org")


def test_public_suffixes_and_domains_of_their_own() -> None:
    suffix = walk("a.b.example.co", example__co=GOOD, co="v=DMARC1; p=reject; psd=y")
    assert suffix.organization == "example.co"
    own = walk("a.b.example.org", b__example__org="v=DMARC1; p=none; psd=n", example__org=GOOD)
    assert own.organization == "b.example.org"


def test_long_names_are_walked_in_nine_steps_at_most() -> None:
    labels = [str(n) for n in range(20)]
    assert len(list(dmarc._upwards(".".join(labels)))) <= 9
    assert walk(".".join([*labels, "example", "org"]), example__org=GOOD).organization == "example.org"


INVALID = {
    "v=DMARC1": "no p=",
    "v=DMARC1; p=deny": "p=deny is none of none, quarantine, reject",
    "v=DMARC1; p=none; p=none": "gives p twice",
    "v=DMARC1; p=none; adkim=x": "adkim=x is none of r, s",
    "v=DMARC1; p=none; rua=dmarc@example.org": "write it as mailto:dmarc@example.org",
    "v=DMARC1; p=none; rua": "'rua' is no tag",
}


@pytest.mark.parametrize("text", INVALID)
def test_what_is_wrong_with_a_record(text: str) -> None:
    [found] = dmarc.judge(walk("example.org", example__org=text))
    assert found.level == "error"
    assert INVALID[text] in found.found
    assert found.remedy == 'publish _dmarc.example.org. TXT "v=DMARC1; p=none; rua=mailto:dmarc@example.org"'


def test_none_and_several() -> None:
    [none] = dmarc.judge(walk("example.org"))
    assert (none.level, none.found) == ("error", "no record; large receivers ask for one")
    zone = Zone({"_dmarc.example.org": [GOOD, GOOD]})
    [several] = dmarc.judge(asyncio.run(dmarc.walk("example.org", zone)))
    assert several.level == "error"
    assert "has 2 records" in several.found


def judged(text: str, domain: str = "example.org") -> list[Finding]:
    return dmarc.judge(walk(domain, example__org=text))


def test_what_a_policy_asks_for() -> None:
    assert judged(GOOD) == [Finding("DMARC of example.org", "ok", f"{GOOD} (of example.org)")]
    mild = judged("v=DMARC1; p=none; rua=mailto:d@example.org")
    assert [(each.level, each.found[:6]) for each in mild] == [("warning", "p=none")]
    assert mild[0].remedy.endswith('TXT "v=DMARC1; p=quarantine; rua=mailto:d@example.org"')
    [deaf] = judged("v=DMARC1; p=reject; adkim=s")
    assert deaf.remedy == 'publish _dmarc.example.org. TXT "v=DMARC1; p=reject; adkim=s; rua=mailto:dmarc@example.org"'
    assert judged("v=DMARC1; p=reject; sp=none; rua=mailto:d@example.org", "shop.example.org")[0].level == "warning"
    assert judged("v=DMARC1; p=reject; t=y; rua=mailto:d@example.org")[0].found.startswith("t=y")


def test_whoever_gets_reports_of_others_consents() -> None:
    found = walk("example.org", example__org=f"{GOOD}, mailto:a@sub.example.org,mailto:a@reports.example!10m")
    assert dmarc.reporters(found) == ["reports.example"]
    assert dmarc.consent(found, "reports.example") == "example.org._report._dmarc.reports.example"
    assert dmarc.reporter(found, "reports.example", ["v=DMARC1"]).level == "ok"
    silent = dmarc.reporter(found, "reports.example", [])
    assert silent.level == "warning"
    assert silent.remedy == 'have it publish example.org._report._dmarc.reports.example. TXT "v=DMARC1"'


def test_alignment_with_a_bounce_domain_and_signatures() -> None:
    sender, below = walk("example.org", example__org=GOOD), walk("bounces.example.org", example__org=GOOD)
    other = walk("bounces.example.com", example__org=GOOD)
    assert [each.level for each in dmarc.alignment(sender, below, [sender])] == ["ok", "ok"]
    [far] = dmarc.alignment(sender, other, [])
    assert (far.level, far.remedy) == (
        "error",
        "set BOUNCE_DOMAIN to one below example.org, such as bounces.example.org",
    )
    assert [each.level for each in dmarc.alignment(sender, other, [sender])] == ["warning", "ok"]


def test_strict_alignment() -> None:
    strict = f"{GOOD}; aspf=s; adkim=s"
    sender, below = walk("shop.example.org", example__org=strict), walk("bounces.example.org", example__org=strict)
    above = walk("example.org", example__org=strict)
    assert [each.level for each in dmarc.alignment(sender, below, [above])] == ["error", "warning"]
    assert [each.level for each in dmarc.alignment(sender, below, [sender])] == ["warning", "ok"]
    assert "aspf=s" in dmarc.alignment(sender, below, [])[0].remedy


@modest
@given(st.text(max_size=80))
def test_whatever_is_published_is_judged(text: str) -> None:
    for found in judged(f"v=DMARC1; {text}"):
        assert found.level == "ok" or found.remedy
