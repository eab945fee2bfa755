"""Which files are migrations, and which of them a database needs yet; what needs no database."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from asyncpg.types import ServerVersion

from tests.packages import Package
from tracepost.postgres import OLDEST, Migration, migrations, missing, refuse_old
from tracepost.runner import Unavailable

KNOWN = [Migration(f"{number:03}_{name}.sql", f"SELECT {number}") for number, name in enumerate("abcd", 1)]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    return Package(tmp_path, monkeypatch)


def applied(*numbers: int) -> dict[str, str]:
    return {KNOWN[number - 1].name: KNOWN[number - 1].checksum for number in numbers}


def test_the_order_is_that_of_the_numbers(package: Package) -> None:
    package.write({f"{number:03}_{'zyx'[number % 3]}.sql": f"-- {number}" for number in range(12, 0, -1)})
    assert [each.sql for each in migrations(package.name)] == [f"-- {number}" for number in range(1, 13)]


def test_what_is_not_sql_is_no_migration(package: Package) -> None:
    package.write({"001_a.sql": "é", "README.md": "", "001_a.sql~": "", "001_a.sql.orig": ""})
    assert migrations(package.name) == [Migration("001_a.sql", "é")]


@pytest.mark.parametrize(
    "names",
    [
        ("001_a", "002_b", "002_c"),
        ("001_a", "003_b"),
        ("002_a",),
        ("000_a", "001_b"),
        ("1_a", "2_b"),
        ("0001_a",),
        ("001_a", "more"),
        ("001_a", "002"),
    ],
    ids=lambda names: "+".join(names),
)
def test_files_that_are_not_numbered_one_by_one_are_refused(package: Package, names: tuple[str, ...]) -> None:
    package.write({f"{name}.sql": "" for name in names})
    with pytest.raises(ValueError, match=rf"001_….sql, 002_….sql.*{names[-1]}\.sql"):
        migrations(package.name)


@pytest.mark.parametrize("service", ["bounce_ingest", "sender", "status_store"])
def test_those_of_the_services_are_in_order(service: str) -> None:
    assert migrations(service)[0].name.startswith("001_")


@pytest.mark.parametrize("count", range(len(KNOWN) + 1))
def test_what_was_not_applied_is_missing(count: int) -> None:
    assert missing(KNOWN, applied(*range(1, count + 1))) == KNOWN[count:]


def test_every_gap_is_refused() -> None:
    chosen = [each for size in range(1, 4) for each in itertools.combinations(range(1, 5), size)]
    gaps = [each for each in chosen if each != tuple(range(1, len(each) + 1))]
    assert len(gaps) == 11
    for numbers in gaps:
        first = next(number for number in range(1, 5) if number not in numbers)
        text = rf"lacks {KNOWN[first - 1].name} although it has {KNOWN[numbers[-1] - 1].name}.*restore the database"
        with pytest.raises(Unavailable, match=text):
            missing(KNOWN, applied(*numbers))


def test_a_changed_file_is_refused() -> None:
    with pytest.raises(Unavailable, match=r"002_b.sql was changed after it was applied; restore the file"):
        missing(KNOWN, applied(1, 2, 3) | {"002_b.sql": "other"})


def test_a_newer_database_is_refused() -> None:
    newer = applied(1, 2, 3, 4) | {"005_e.sql": "", "006_f.sql": ""}
    with pytest.raises(Unavailable, match=r"newer than this version: it has 005_e.sql, 006_f.sql; install the version"):
        missing(KNOWN, newer)


def test_the_database_of_another_service_is_refused() -> None:
    with pytest.raises(Unavailable, match=r"another's: it has 001_queue.sql; check database_url"):
        missing(KNOWN, {"001_queue.sql": ""})


@pytest.mark.parametrize("major", [9, OLDEST - 1])
def test_an_old_server_is_refused(major: int) -> None:
    with pytest.raises(Unavailable, match=rf"PostgreSQL {major} is too old; upgrade the server to {OLDEST}"):
        refuse_old(ServerVersion(major, 4, 0, "final", 0))


@pytest.mark.parametrize("major", [OLDEST, 15, 18])
def test_a_server_of_today_is_not_refused(major: int) -> None:
    refuse_old(ServerVersion(major, 0, 0, "beta", 1))
