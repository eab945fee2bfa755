"""`python -m tests.bounces [FOLDER] [--json]`: score how the mails of a folder are understood, beside other parsers."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_stack.binaries import Missing
from tests.bounces import readers
from tests.bounces.corpus import Mail, read
from tests.bounces.readers import Read, Reading
from tests.bounces.score import Score, by, score

ROUNDS = 5
TO_REACH = 1.5
_REMEDY = "Name a folder of mails with a manifest.jsonl: make bounce-report CORPUS=<folder>"


def main() -> int:
    """Read, score and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bounces")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/corpus/bounces"))
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    arguments = parser.parse_args()
    try:
        mails = read(arguments.folder)
    except (FileNotFoundError, ValueError) as error:
        print(f"{error}\n{_REMEDY}", file=sys.stderr)  # noqa: T201
        return os.EX_NOINPUT
    print(json.dumps(_figures(mails), indent=1) if arguments.json else "\n".join(_lines(mails)))  # noqa: T201
    return os.EX_OK


def _readings(mails: Sequence[Mail]) -> tuple[dict[str, list[list[Reading]]], list[str]]:
    """Every parser's readings, round by round in turns; and why a parser is left out."""
    parsers: dict[str, Read] = {"tracepost": readers.ours, "flufl.bounce": readers.flufl, "sisimai": readers.sisimai}
    done: dict[str, list[list[Reading]]] = {}
    notes = []
    for _ in range(ROUNDS):
        for name, parser in list(parsers.items()):
            try:
                done.setdefault(name, []).append(parser(mails))
            except Missing as error:
                del parsers[name], done[name]
                notes.append(f"{name} is left out: {error}")
    return done, notes


def left_out(mails: Sequence[Mail], readings: Sequence[Reading]) -> list[Reading]:
    """Each mail read without the format by which it was read: what is left to a format that nobody has described."""
    return [_without_its_own(mail, reading) for mail, reading in zip(mails, readings, strict=True)]


def _without_its_own(mail: Mail, reading: Reading) -> Reading:
    off: set[str] = set()
    while reading.by in readers.FORMATS:  # until no entry for its format or one like it is left
        off.add(reading.by)
        reading = readers.ours([mail], off)[0]
    return reading


def _figures(mails: Sequence[Mail]) -> Mapping[str, object]:
    done, notes = _readings(mails)
    return {
        "parsers": {name: _parser(mails, rounds) for name, rounds in done.items()},
        "origin_left_out": score(mails, left_out(mails, done["tracepost"][0])).table,
        "without_any_format": score(mails, readers.ours(mails, readers.FORMATS)).table,
        "notes": notes,
    }


def _parser(mails: Sequence[Mail], rounds: Sequence[Sequence[Reading]]) -> Mapping[str, object]:
    readings = rounds[0]
    return {
        "all": score(mails, readings).table,
        "kinds": {name: each.table for name, each in _by_kind(mails, readings).items()},
        "origins": {name: each.table for name, each in by([m.origin for m in mails], mails, readings).items()},
        "mails_per_cpu_second": _rate(rounds),
        "slowest": _slowest(mails, rounds),
    }


def _by_kind(mails: Sequence[Mail], readings: Sequence[Reading]) -> dict[str, Score]:
    return by([mail.kind for mail in mails], mails, readings)


def _rate(rounds: Sequence[Sequence[Reading]]) -> float:
    """Mails per second of CPU time, of the best round: what else the machine does can only slow one down."""
    return max(len(readings) / sum(reading.seconds for reading in readings) for readings in rounds)


def _slowest(mails: Sequence[Mail], rounds: Sequence[Sequence[Reading]]) -> tuple[str, float]:
    least = [
        min(each) for each in zip(*([reading.seconds for reading in readings] for readings in rounds), strict=True)
    ]
    seconds = max(least)
    return mails[least.index(seconds)].path.name, seconds


def _lines(mails: Sequence[Mail]) -> list[str]:
    done, lines = _readings(mails)
    for name, rounds in done.items():
        path, seconds = _slowest(mails, rounds)
        lines += [f"\n{name}: {_rate(rounds):,.0f} mails per CPU second, slowest {path} {seconds * 1000:.1f} ms", _HEAD]
        lines += [_line(kind, each) for kind, each in _by_kind(mails, rounds[0]).items()]
        lines.append(_line("all", score(mails, rounds[0])))
    readings = done["tracepost"][0]
    lines += ["\ntracepost, with the origin left out", _HEAD]
    out = left_out(mails, readings)
    lines += [_line(kind, each) for kind, each in _by_kind(mails, out).items()]
    lines.append(_line("all", score(mails, out)))
    lines.append(_line("without any format", score(mails, readers.ours(mails, readers.FORMATS))))
    lines += ["\ntracepost by origin", _HEAD]
    lines += [_line(name, each) for name, each in by([mail.origin for mail in mails], mails, readings).items()]
    if "sisimai" in done:
        ratio = _rate(done["tracepost"]) / _rate(done["sisimai"])
        reached = "reached" if ratio >= TO_REACH else "NOT REACHED"
        lines.append(f"\nspeed: tracepost / sisimai: {ratio:.2f}, to reach: {TO_REACH} ({reached})")
    return lines


_COLUMNS = {"mails": 6, "found": 19, "exact": 19, "hard flag": 19, "complaints": 12, "auto": 8, "given wrongly": 15}
_HEAD = " " * 30 + "".join(f"{name:>{width}}" for name, width in _COLUMNS.items())


def _line(name: str, of: Score) -> str:
    return (
        f"  {name:28}{of.mails:>6}{_share(of.found, of.found_of):>19}{_share(of.exact, of.exact_of):>19}"
        f"{_share(of.hard, of.hard_of):>19}{_of(of.complaints, of.complaints_of):>12}"
        f"{_of(of.auto_replies, of.auto_replies_of):>8}{_of(of.given_for_non_bounces, of.non_bounces):>15}"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part}/{whole})" if whole else "-"


def _of(part: int, whole: int) -> str:
    return f"{part}/{whole}" if whole else "-"


if __name__ == "__main__":
    sys.exit(main())
