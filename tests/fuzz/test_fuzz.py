"""A short run finds nothing, and what it looks for would be noticed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from bounce_ingest.report import DeliveryReport, NotUnderstood, understand
from tests.conftest import ROOT
from tests.fuzz.promises import Broken, check, occurs
from tests.unit.hostile import SHAPES, baited

SECONDS = 5
SEED = 20_261_124  # what other seeds find is for `make fuzz`: a change shall not fail for what it has not touched
MAIL = (ROOT / "tests/data/servers/postfix/unknown.eml").read_bytes()


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this Python")
def test_a_short_run() -> None:
    argv = [sys.executable, "-m", "tests.fuzz", str(SECONDS), str(SEED)]
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    assert "Done" in said


def test_hostile_mails_break_no_promise() -> None:
    for _, build in (*SHAPES.items(), *baited()):
        check(build(5_000), understand(build(5_000)))


def test_reports_of_ours_break_no_promise() -> None:
    for path in (ROOT / "tests/data").rglob("*.eml"):
        check(path.read_bytes(), understand(path.read_bytes()))


def report(**changes: str) -> DeliveryReport:
    """Of MAIL, its one recipient changed."""
    found = understand(MAIL)
    assert isinstance(found, DeliveryReport)
    return replace(found, recipients=(replace(found.recipients[0], **changes),))  # type: ignore[arg-type]  # texts


def test_what_breaks_a_promise_is_noticed() -> None:
    check(MAIL, report())
    for broken in (
        report(final_recipient="ann@customer.example"),
        report(original_recipient="someone-unknown@customer.example"),
        report(diagnostic="\udcff"),
        NotUnderstood("unreadable"),
    ):
        with pytest.raises(Broken):
            check(MAIL, broken)


@pytest.mark.parametrize(
    "mail",
    [
        b"<ann@b.example>",
        b'"ann"@B.Example',
        b"ann+2B1@b.example ann@b.example",
        b"an=\r\nn=40b.example",
        b"VG86IDxhbm5AYi5leGFt\r\ncGxlPgo=",
        b"an\r\n n@b.example",
    ],
)
def test_an_address_occurs_behind_an_encoding(mail: bytes) -> None:
    assert occurs("ann@b.example", mail)
    assert not occurs("bob@b.example", mail)
