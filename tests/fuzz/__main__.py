"""`python -m tests.fuzz SECONDS [SEED]`: exits 0 if no promise broke; else the mail that broke one is in .local/fuzz.

Seeds are tests/data and, where they lie, the real bounces; what takes a new way is kept there for the next run.
With a SEED the same mails are tried each time, from the seeds alone.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bounce_ingest", "tracepost.bounces", "email"]):
    from bounce_ingest.report import understand

from tests.conftest import ROOT
from tests.fuzz.promises import check

FOLDER = ROOT / ".local/fuzz"
CORPUS = Path(os.environ.get("TRACEPOST_CORPUS", ROOT / "../shared/corpus/bounces"))
LONGEST = 64 * 1024  # bytes of a mail that is tried
SLOWEST = 10  # seconds for one mail, which is watched at each step


def one(mail: bytes) -> None:
    """Try a mail."""
    check(mail, understand(mail))


def main(seconds: int, seed: int | None = None) -> None:
    """Does not return."""
    seeds, found = FOLDER / "seeds", FOLDER / ("found" if seed is None else "found-by-seed")
    if seed is not None:
        shutil.rmtree(found, ignore_errors=True)
    shutil.rmtree(seeds, ignore_errors=True)
    for folder in (seeds, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted([*(ROOT / "tests/data").rglob("*.eml"), *CORPUS.rglob("*.eml")])):
        (seeds / f"{number:04}.eml").write_bytes(path.read_bytes())
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={SLOWEST}", "-rss_limit_mb=1024"]
    options += [f"-dict={Path(__file__).with_name('mail.dict')}", f"-artifact_prefix={FOLDER}/"]
    if seed is not None:
        options.append(f"-seed={seed}")
    atheris.Setup([sys.argv[0], *options, str(found), str(seeds)], one)
    atheris.Fuzz()


main(*map(int, sys.argv[1:]))
