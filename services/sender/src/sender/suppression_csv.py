"""Reads and writes suppressions as CSV (RFC 4180), and says what an import would do; pure."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo
from uuid_utils.compat import uuid7

from sender.suppression import Entry, Evidence, entries
from sender.suppression_asked import Address, Why
from tracepost.events import RejectionReason
from tracepost.keys import Client, Name, app_of
from tracepost.problems import Fault, Invalid, Problem, faults
from tracepost.times import Time

COLUMNS = ("address", "app", "reason", "since", "until", "why")

# A spreadsheet takes a field that begins so for a formula, whatever its quotation marks: it is written behind an
# apostrophe, as is one that begins with an apostrophe, so that reading takes away exactly what writing put there.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_QUOTED = ('"', ",", "\n", "\r")


class Wrong(NamedTuple):
    """What is wrong with a line (the header is line 1), in which field, and what to do about it."""

    line: int
    field: str
    detail: str


class Candidate(NamedTuple):
    """A good line: the evidence that it would add, and whether it names a time itself."""

    line: int
    address: str
    evidence: Evidence
    dated: bool


class Plan(NamedTuple):
    """What an import would do: of what is ignored, why."""

    added: list[Candidate]
    changed: list[Candidate]
    ignored: list[tuple[Candidate, str]]


def _now(info: ValidationInfo) -> datetime:
    now: datetime = (info.context or {})["now"]
    return now


def _past(since: datetime, info: ValidationInfo) -> datetime:
    if since > _now(info):
        raise ValueError("lies in the future; leave it empty, which means now")
    return since


def _after_since(until: datetime, info: ValidationInfo) -> datetime:
    if until <= (info.data.get("since") or _now(info)):
        raise ValueError("is not later than since; leave it empty, which means for ever")
    return until


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    address: Address
    app: Name | None = None
    reason: RejectionReason = "manual"
    since: Annotated[Time, AfterValidator(_past)] | None = None
    until: Annotated[Time, AfterValidator(_after_since)] | None = None
    why: Why | None = None


def read(text: str, client: Client, now: datetime) -> tuple[list[Candidate], list[Wrong]]:
    """The good lines, and what is wrong with the others; Invalid: the header says not what stands where."""
    good: list[Candidate] = []
    wrong: list[Wrong] = []
    first: dict[tuple[object, ...], int] = {}
    records = _records(text)
    try:
        names = _header(next(records, (1, []))[1])
        for line, record in records:
            found = _candidate(line, names, record, client, now)
            if isinstance(found, list):
                wrong += found
            elif first.setdefault(_name(found), line) != line:
                wrong.append(Wrong(line, "address", f"stands on line {first[_name(found)]} already; remove one"))
            else:
                good.append(found)
    except csv.Error as error:
        last = max([each.line for each in good] + [each.line for each in wrong], default=0)
        wrong.append(Wrong(last + 1, "", f"is no CSV from here on: {error}; mend the quotation marks"))
    return good, wrong


def _name(candidate: Candidate) -> tuple[str, str | None, str | None]:
    return candidate.address, candidate.evidence.app, candidate.evidence.reason


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not empty, with the number of the line on which it begins."""
    # Not splitlines(), for which a field may hold the end of a line that is none in CSV.
    reader = csv.reader((line + "\n" for line in text.removeprefix("\ufeff").split("\n")), strict=True)
    begins = 1
    for record in reader:
        if record:
            yield begins, [_plain(each) for each in record]
        begins = reader.line_num + 1


def _header(names: Sequence[str]) -> Sequence[str]:
    known = [each.strip().lower() for each in names]
    if "address" in known and set(known) <= set(COLUMNS) and len(set(known)) == len(known):
        return known
    detail = f"begin with the line {','.join(COLUMNS)} (address is needed, the others may be left out), with commas"
    raise Invalid(Problem(code="csv-header", title="The columns are not understood", detail=detail))


def _candidate(
    number: int, names: Sequence[str], record: Sequence[str], client: Client, now: datetime
) -> Candidate | list[Wrong]:
    if len(record) != len(names):
        detail = f"has {len(record)} fields, but the header {len(names)}; put a field with a comma in quotation marks"
        return [Wrong(number, "", detail)]
    told = {name: value.strip() for name, value in zip(names, record, strict=True) if value.strip()}
    try:
        line = _Line.model_validate(told, context={"now": now})
        app = app_of(client, line.app)
    except ValidationError as error:
        return [_wrong(number, each) for each in faults(error)]
    except Invalid as error:
        return [_wrong(number, each) for each in error.problem.errors]
    since, by = line.since or now, client.client
    evidence = Evidence(uuid7(), "added", since, app, reason=line.reason, until=line.until, by=by, why=line.why)
    return Candidate(number, line.address, evidence, line.since is not None)


def _wrong(line: int, fault: Fault) -> Wrong:
    return Wrong(line, fault.pointer.strip("/"), fault.detail)


def plan(candidates: Sequence[Candidate], known: Mapping[str, Sequence[Evidence]], now: datetime) -> Plan:
    """What these would do to what is known, by address: the rules decide, as they will when it is taken."""
    made = Plan([], [], [])
    for each in candidates:
        before = _entry(known.get(each.address, ()), each)
        after = _entry([*known.get(each.address, ()), each.evidence], each)
        if because := _idle(each, before, after, now):
            made.ignored.append((each, because))
        elif before is not None and before.holds(now):
            made.changed.append(each)
        else:
            made.added.append(each)
    return made


def _entry(evidence: Sequence[Evidence], like: Candidate) -> Entry | None:
    wanted = like.evidence.app, like.evidence.reason
    return next((each for each in entries(evidence) if (each.app, each.reason) == wanted), None)


def _idle(candidate: Candidate, before: Entry | None, after: Entry | None, now: datetime) -> str | None:
    """Why a line would change nothing, or None."""
    assert after is not None
    if after.lift is not None:
        return f"it was lifted at {after.lift.at.isoformat()}, and this is not newer"
    if not after.holds(now):
        return "it has ended already"
    if before is None or not before.holds(now):
        return None
    same_time = before.since == candidate.evidence.at or not candidate.dated
    if same_time and before.until == candidate.evidence.until:
        return "it is on the list already"
    return "what is on the list is newer, or lasts longer" if after.evidence is not candidate.evidence else None


def row(fields: Sequence[str | datetime | None]) -> str:
    """A line of CSV with its end."""
    return ",".join(map(_field, fields)) + "\r\n"


def _field(value: str | datetime | None) -> str:
    text = value.isoformat() if isinstance(value, datetime) else value or ""
    text = f"'{text}" if text.startswith(_FORMULA) else text
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in _QUOTED) else text


def _plain(field: str) -> str:
    return field[1:] if field.startswith("'") and field[1:].startswith(_FORMULA) else field
