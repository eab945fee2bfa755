"""Reads the reports that have no delivery-status part: by their format's own entry, else by their shape."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from email.message import Message

from flufl.bounce import all_failures

from bounce_ingest.reading import formats, shapes
from bounce_ingest.reading.addresses import ADDRESS, spelling
from bounce_ingest.reading.delivery_status import from_text
from bounce_ingest.reading.diagnosis import recipient
from bounce_ingest.reading.formats import Reading
from bounce_ingest.reading.lines import ANSWERED, GUESSED, LISTED, TOLD, Found
from bounce_ingest.reading.mail_system import comes_back, is_daemon, is_mail_system, says_so
from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.parts import Part
from bounce_ingest.reading.values import Action, DeliveryReport, RecipientReport
from bounce_ingest.reading.wording import tells

HEADER, FLUFL = "x-failed-recipients", "flufl.bounce"
MANY = 2  # recipients: what is told of one of them stands around its address
GUESS = "guess"
"""The format of what is told without a sure sign."""
MAX_FLUFL = 256 * 1024  # characters; its detectors look at every line many times over

_ADDRESS = re.compile(ADDRESS)


def read(mail: Part, notice: Notice, without: AbstractSet[str]) -> DeliveryReport | None:
    """Of a mail that reports failure; None if it names nobody."""
    if told := from_text(notice):
        return DeliveryReport(told, notice.returned.original, "fields")
    name, found, action = (
        _named_in_header(mail, notice, without) or formats.read(notice, without) or _by_shape(mail, notice)
    )
    if not found:
        return None
    action = action or _action(notice)
    told_apart = len(found) if any(each.words for each in found) else 1  # one reason may be given for all
    reports = tuple(_report(each, notice, action, told_apart) for each in found)
    return DeliveryReport(reports, notice.returned.original, name)


def _named_in_header(mail: Part, notice: Notice, without: AbstractSet[str]) -> Reading | None:
    """Those that Exim and Gmail name in a header, with what the text says of each."""
    values = mail.fields.get("x-failed-recipients", ()) if HEADER not in without else ()
    named = [each for value in values for each in _ADDRESS.findall(value)]
    if not named:
        return None
    read = formats.read(notice, without)
    told = {spelling(each.address): each for each in (read[1] if read else shapes.find(notice))}
    words = [told[spelling(each)].words if spelling(each) in told else [] for each in named]
    return HEADER, [Found(each, LISTED, about) for each, about in zip(named, words, strict=True)], None


def _by_shape(mail: Part, notice: Notice) -> Reading:
    """A mail whose header does not say that it is a report must say so beside each address, and leave no doubt."""
    found = shapes.find(notice)
    if is_daemon(mail):
        found = [each for each in found if each.sureness >= (GUESSED if says_so(mail, notice) else TOLD)]
    elif not (says_so(mail, notice) and (is_mail_system(mail) or comes_back(mail, notice))):
        found = [each for each in found if each.sureness >= ANSWERED and _is_said_of(each, notice)]
    return GUESS if any(each.sureness == GUESSED for each in found) else "shape", found, None


def _is_said_of(found: Found, notice: Notice) -> bool:
    around = "\n".join(notice.context(found.address, MANY)).lower()
    return "rcpt to" in around or tells("failure", around)


def by_flufl(mail: Part, notice: Notice) -> DeliveryReport | None:
    """By the detectors of flufl.bounce, which know some formats of the nineties."""
    message = Message()
    sender = _ADDRESS.search(mail.get("from"))
    message["From"], message["Subject"] = sender[0] if sender else "<>", mail.get("subject")
    message.set_payload(notice.text[:MAX_FLUFL])  # without the original, which may be a bounce itself
    try:
        waiting, failed = all_failures(message)
    except Exception:  # its detectors raise what the standard library raises on malformed mail
        return None
    found: dict[str, Action] = {each.decode("utf-8", "replace"): "delayed" for each in waiting}
    found |= {each.decode("utf-8", "replace"): "failed" for each in failed}
    named = [_report(Found(each, TOLD), notice, action, len(found)) for each, action in sorted(found.items())]
    return DeliveryReport(tuple(named), notice.returned.original, FLUFL) if named else None


def _action(notice: Notice) -> Action:
    said = f"{notice.subject.lower()}\n{notice.lower}"
    return "delayed" if tells("delay", said) and not tells("final", said) else "failed"


def _report(found: Found, notice: Notice, action: Action, of: int) -> RecipientReport:
    context = notice.context(found.address, of)
    return recipient(final=found.address, action=action, words=found.reason.strip(), context=context)


def named(mail: Part, notice: Notice) -> list[str]:
    """The addresses that a report names outside of its fields, for fields that name a program or a file."""
    told = _named_in_header(mail, notice, frozenset())
    return [each.address for each in (told[1] if told else shapes.find(notice))]
