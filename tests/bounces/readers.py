"""What reads the mails: ours, flufl.bounce and Debian's sisimai, each with the CPU time that every mail took."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from email import message_from_bytes
from functools import partial

from flufl.bounce import all_failures

from bounce_ingest.reading.formats import formats
from bounce_ingest.reading.vendor import FLUFL, HEADER
from bounce_ingest.report import AutoReply, DeliveryReport, FeedbackReport, Report, understand
from local_stack import binaries
from local_stack.binaries import Missing
from tests.bounces.corpus import Mail, spelling
from tests.conftest import ROOT

FORMATS = frozenset({HEADER, FLUFL, *(each.name for each in formats())})
"""What knows one format or a few, in contrast to the general shapes and to RFC 3464."""
_UNPACKED = ROOT / ".local" / "sisimai"


@dataclass(frozen=True)
class Reading:
    """What one parser makes of a mail: those that failed or wait, each with its spellings and whether it is dead.

    `seconds` are of CPU time: what else the machine does would blur a ratio.
    """

    recipients: tuple[tuple[frozenset[str], bool], ...] = ()
    is_complaint: bool = False
    is_auto_reply: bool = False
    by: str = ""
    seconds: float = 0.0


Read = Callable[[Sequence[Mail]], list[Reading]]


def ours(mails: Sequence[Mail], without: AbstractSet[str] = frozenset()) -> list[Reading]:
    """As bounce-ingest understands them, with the formats of these names switched off."""
    return [_timed(partial(_ours, without=without), mail) for mail in mails]


def flufl(mails: Sequence[Mail]) -> list[Reading]:
    """As Mailman does."""
    logging.getLogger("flufl.bounce").disabled = True  # it tells every exception of its detectors
    return [_timed(_flufl, mail) for mail in mails]


def sisimai(mails: Sequence[Mail]) -> list[Reading]:
    """As Debian's libsisimai-perl does, in a process of its own that takes the times itself; Missing without it."""
    if _perl(["-MSisimai", "-MJSON", "-e", "1"]) is None:
        binaries.unpack("libsisimai-perl", _UNPACKED)
    output = _perl(["-e", _SISIMAI], "".join(f"{mail.path}\n" for mail in mails))
    if output is None:
        raise Missing("perl cannot run it")
    return [_sisimai(json.loads(line)) for line in output.splitlines()]


def _timed(read: Callable[[Mail], Reading], mail: Mail) -> Reading:
    started = time.process_time()
    reading = read(mail)
    seconds = time.process_time() - started
    return Reading(reading.recipients, reading.is_complaint, reading.is_auto_reply, reading.by, seconds)


def _ours(mail: Mail, without: AbstractSet[str]) -> Reading:
    report = understand(mail.content, without)
    return Reading(_failed(report), isinstance(report, FeedbackReport), isinstance(report, AutoReply), _by(report))


def _failed(report: Report) -> tuple[tuple[frozenset[str], bool], ...]:
    if isinstance(report, FeedbackReport):
        return tuple((frozenset({spelling(each)}), False) for each in report.recipients)
    found = report.recipients if isinstance(report, DeliveryReport) else ()
    return tuple(
        (frozenset(map(spelling, filter(None, names))), each.cause.bounce_class == "hard")
        for each in found
        if each.action in {"failed", "delayed"} and any(names := (each.final_recipient, each.original_recipient))
    )


def _by(report: Report) -> str:
    return report.format if isinstance(report, DeliveryReport) else ""


def _flufl(mail: Mail) -> Reading:
    try:
        waiting, failed = all_failures(message_from_bytes(mail.content))
    except Exception:  # its detectors take no header beyond ASCII
        return Reading(())
    names = {spelling(each.decode("utf-8", "replace")) for each in {*waiting, *failed}}
    return Reading(tuple((frozenset({each}), False) for each in names))


def _sisimai(rows: dict[str, object]) -> Reading:
    seconds, found = rows["seconds"], rows["found"]
    assert isinstance(seconds, float)
    assert isinstance(found, list)
    reasons = {row["reason"] for row in found}
    failed = [row for row in found if row["reason"] not in {"feedback", "vacation", "delivered"}]
    named = failed or [row for row in found if row["reason"] == "feedback"]
    recipients = tuple((frozenset({spelling(row["recipient"])}), row["hard"]) for row in named)
    return Reading(recipients, "feedback" in reasons, "vacation" in reasons, seconds=seconds)


# It loads its modules when a mail first needs them, so that every mail is read once before the times are taken.
_SISIMAI = """
use Sisimai; use JSON; use Time::HiRes 'clock';
my $json = JSON->new->canonical->latin1;
chomp(my @paths = <STDIN>);
eval { Sisimai->make($_, delivered => 1) } for @paths;
for my $path (@paths) {
    my $begun = clock;
    my $found = eval { Sisimai->make($path, delivered => 1) } || [];
    my $seconds = clock() - $begun;
    my @rows = map {{ recipient => $_->recipient->address, reason => $_->reason,
        hard => $_->softbounce == 0 ? JSON::true : JSON::false }} @$found;
    print $json->encode({ seconds => $seconds, found => \\@rows }), "\\n";
}
"""


def _perl(arguments: list[str], given: str = "") -> str | None:
    if shutil.which("perl") is None:
        raise Missing("there is no perl here")
    argv = ["perl", f"-I{_UNPACKED}/usr/share/perl5", *arguments]
    done = subprocess.run(argv, input=given, capture_output=True, encoding="utf-8", errors="replace", check=False)
    return done.stdout if done.returncode == 0 else None
