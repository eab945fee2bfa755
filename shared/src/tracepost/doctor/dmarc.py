"""Judges DMARC policies, and whether return paths and signatures are aligned with a sender (RFC 9989); pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tracepost.doctor.domains import Records
from tracepost.doctor.findings import Finding
from tracepost.doctor.publishing import record, tags

_MOST_LABELS = 8
_POLICIES = ("none", "quarantine", "reject")
_URI = re.compile(r"mailto:[^@\s,]+@[\w.-]+(?:![0-9]+[kmgt]?)?", re.IGNORECASE)

Mode = Literal["r", "s"]


@dataclass(frozen=True, slots=True)
class Walk:
    """What stands at `_dmarc` of a domain and of those above, and which of them is the organizational domain."""

    domain: str
    organization: str
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The domain whose records hold for this one."""
        return self.domain if self.texts.get(self.domain) else self.organization

    @property
    def records(self) -> Sequence[str]:
        """Those that hold."""
        return self.texts.get(self.source, ())


def parse(text: str) -> dict[str, str]:
    """The tags of a record; ValueError says what is wrong with it."""
    found = tags(text)
    if next(iter(found.items()), None) != ("v", "DMARC1"):
        raise ValueError("it does not begin with v=DMARC1")
    for name in ("p", "sp", "np"):
        if name in found and found[name].lower() not in _POLICIES:
            raise ValueError(f"{name}={found[name]} is none of {', '.join(_POLICIES)}")
    if "p" not in found and "rua" not in found:
        raise ValueError("it has no p=")
    for name, allowed in (("adkim", "rs"), ("aspf", "rs"), ("t", "yn"), ("psd", "ynu")):
        if name in found and (len(found[name]) != 1 or found[name].lower() not in allowed):
            raise ValueError(f"{name}={found[name]} is none of {', '.join(allowed)}")
    for name in ("rua", "ruf"):
        for uri in found.get(name, "").split(",") if name in found else ():
            if not _URI.fullmatch(uri.strip()):
                raise ValueError(
                    f"{name} names {uri.strip()!r}, which is no address; write it as mailto:dmarc@example.org"
                )
    return found


async def walk(domain: str, records: Records) -> Walk:
    """Up the tree of DNS, as receivers go (RFC 9989, 4.10)."""
    texts: dict[str, Sequence[str]] = {}
    for at in _upwards(domain):
        found = [text for text in await records.texts(f"_dmarc.{at}") if re.match(r"v\s*=\s*DMARC1\b", text)]
        if found:
            texts[at] = found
        if len(found) == 1 and (psd := _psd(found[0])) in {"y", "n"}:
            below = domain.removesuffix(f".{at}").rpartition(".")[2]
            return Walk(domain, at if psd == "n" or at == domain else f"{below}.{at}", texts)
    return Walk(domain, next(reversed(texts), domain), texts)


def _upwards(domain: str) -> Iterator[str]:
    labels = domain.split(".")
    yield domain
    for start in range(max(1, len(labels) - _MOST_LABELS + 1), len(labels)):
        yield ".".join(labels[start:])


def _psd(text: str) -> str:
    try:
        return parse(text).get("psd", "u").lower()
    except ValueError:
        return "u"


def judge(found: Walk) -> list[Finding]:
    """Whether there is one policy, and what it asks for."""
    check = f"DMARC of {found.domain}"
    wanted = f"v=DMARC1; p=none; rua=mailto:dmarc@{found.domain}"
    publish = f"publish {record(f'_dmarc.{found.domain}', 'TXT', wanted)}"
    if not found.records:
        return [Finding(check, "error", "no record; large receivers ask for one", publish)]
    if len(found.records) > 1:
        shown = f"_dmarc.{found.source} has {len(found.records)} records, of which receivers heed none"
        return [Finding(check, "error", shown, "keep one of them, and remove the others")]
    text = found.records[0]
    try:
        policy = parse(text)
    except ValueError as error:
        return [Finding(check, "error", f"the record of {found.source} is not valid: {error}", publish)]
    doubts = [Finding(check, "warning", fault, remedy) for fault, remedy in _doubts(found, policy)]
    return doubts or [Finding(check, "ok", f"{text} (of {found.source})")]


def _doubts(found: Walk, policy: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if in_force(found, policy) == "none":
        stricter = {
            "v": "DMARC1",
            "p": "quarantine",
            **{key: value for key, value in policy.items() if key not in ("v", "p")},
        }
        text = "; ".join(f"{key}={value}" for key, value in stricter.items())
        remedy = (
            f"when the reports show that all your mail passes, publish {record(f'_dmarc.{found.source}', 'TXT', text)}"
        )
        yield "p=none asks receivers to do nothing about forgers", remedy
    if "rua" not in policy:
        text = "; ".join([*(f"{key}={value}" for key, value in policy.items()), f"rua=mailto:dmarc@{found.source}"])
        yield "no rua: nobody is told who fails", f"publish {record(f'_dmarc.{found.source}', 'TXT', text)}"
    if policy.get("t") == "y":
        yield "t=y asks receivers to be one step milder", "take t=y out of the record"


def reporters(found: Walk) -> list[str]:
    """The domains of others that reports are to go to: they have to consent (RFC 9990)."""
    try:
        named = parse(found.records[0]).get("rua", "") if found.records else ""
    except ValueError:
        return []
    domains = [uri.partition("@")[2].partition("!")[0].strip().lower() for uri in named.split(",") if uri.strip()]
    return [each for each in dict.fromkeys(domains) if not f".{each}".endswith(f".{found.organization}")]


def consent(found: Walk, domain: str) -> str:
    """Where such a domain says that it takes reports."""
    return f"{found.source}._report._dmarc.{domain}"


def reporter(found: Walk, domain: str, texts: Sequence[str]) -> Finding:
    """Whether it does."""
    check = f"DMARC reports to {domain}"
    if any(re.match(r"v\s*=\s*DMARC1\b", text) for text in texts):
        return Finding(check, "ok", "are taken there")
    remedy = f"have it publish {record(consent(found, domain), 'TXT', 'v=DMARC1')}"
    return Finding(check, "warning", f"are not sent: {domain} does not say that it takes them", remedy)


def in_force(found: Walk, policy: Mapping[str, str]) -> str:
    """The policy that is asked for the domain itself: below its organization's, that for subdomains."""
    general = policy.get("p", "none")
    return (general if found.source == found.domain else policy.get("sp", general)).lower()


def mode(found: Walk, name: Literal["aspf", "adkim"]) -> Mode:
    """How close an identity has to be."""
    try:
        strict = len(found.records) == 1 and parse(found.records[0]).get(name, "r").lower() == "s"
    except ValueError:
        return "r"
    return "s" if strict else "r"


def aligned(sender: Walk, other: Walk, how: Mode) -> bool:
    """Whether an identity stands for the sender's domain (RFC 9989, 4.4); as it will when there is a record."""
    if not sender.records:
        return f".{other.domain}".endswith(f".{sender.domain}")
    if how == "s" or sender.domain == other.domain:
        return sender.domain == other.domain
    return sender.organization == other.organization


def alignment(sender: Walk, bounce: Walk | None, signing: Sequence[Walk]) -> list[Finding]:
    """Whether SPF, which is looked up for the bounce domain, and DKIM count for the sender: one of both must."""
    by_dkim = any(aligned(sender, each, mode(sender, "adkim")) for each in signing)
    check = f"alignment with {sender.domain}"
    found = []
    if bounce is not None and aligned(sender, bounce, mode(sender, "aspf")):
        found.append(Finding(check, "ok", f"SPF of the bounce domain {bounce.domain} counts for it"))
    elif bounce is not None:
        strict = mode(sender, "aspf") == "s"
        words = "aspf=s asks for the very same domain" if strict else "it is no domain of the same organization"
        remedy = f"set BOUNCE_DOMAIN to one below {sender.organization}, such as bounces.{sender.organization}"
        remedy = "take aspf=s out of the DMARC record" if strict else remedy
        level: Literal["warning", "error"] = "warning" if by_dkim else "error"
        found.append(Finding(check, level, f"SPF of the bounce domain {bounce.domain} does not count: {words}", remedy))
    if by_dkim:
        found.append(Finding(check, "ok", f"DKIM of {', '.join(each.domain for each in signing)} counts for it"))
    elif signing:
        remedy = f"take adkim=s out of the DMARC record, or sign with a key of {sender.domain} itself"
        shown = ", ".join(each.domain for each in signing)
        found.append(
            Finding(check, "warning", f"DKIM of {shown} does not count: adkim=s asks for the very same domain", remedy)
        )
    return found
