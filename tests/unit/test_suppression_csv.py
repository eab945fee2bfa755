"""Suppressions as CSV: what is written can be read, is no formula, and a wrong line is told with its remedy."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.suppression import Evidence
from sender.suppression_csv import COLUMNS, Candidate, Wrong, plan, read, row
from tests.unit.samples import NOON, modest
from tracepost.events import derived_id
from tracepost.keys import LOCAL
from tracepost.problems import Invalid

DAY = timedelta(days=1)
SHOP = LOCAL.model_copy(update={"client": "shop-key", "app": "shop"})
HEADER = ",".join(COLUMNS)


def lines(*told: str, header: str = HEADER) -> tuple[list[Candidate], list[Wrong]]:
    return read("\r\n".join([header, *told, ""]), LOCAL, NOON)


def good(*told: str) -> list[Candidate]:
    found, wrong = lines(*told)
    assert wrong == []
    return found


def test_a_line_says_whom_why_and_for_how_long() -> None:
    [found] = good(
        '"Ann <Ann@Example.org>",shop,unsubscribed,2026-01-02T03:04:05Z,2027-01-02T03:04:05+01:00,"by ""post"""'
    )
    evidence = found.evidence
    assert (found.line, found.address, evidence.app, evidence.reason) == (2, "ann@example.org", "shop", "unsubscribed")
    assert (evidence.by, evidence.why, evidence.kind) == ("local", 'by "post"', "added")
    assert evidence.at.isoformat() == "2026-01-02T03:04:05+00:00"
    assert evidence.until is not None
    assert evidence.until.isoformat() == "2027-01-02T02:04:05+00:00"


def test_what_is_empty_or_left_out_is_the_default() -> None:
    for found in (good("ann@example.org,,,,,")[0], lines("ann@example.org", header="address")[0][0]):
        evidence = found.evidence
        assert (evidence.app, evidence.reason, evidence.at, evidence.until) == (None, "manual", NOON, None)


def test_columns_may_stand_in_any_order_after_a_mark_of_utf_8() -> None:
    found, _ = read("\ufeffWhy, Address\nasked for it,ann@example.org\n\nbob,bob@example.org", LOCAL, NOON)
    assert [(each.line, each.address, each.evidence.why) for each in found] == [
        (2, "ann@example.org", "asked for it"),
        (4, "bob@example.org", "bob"),
    ]


@pytest.mark.parametrize("header", ["", "mail,reason", "address;app", "address,address", "address,colour"])
def test_a_header_that_is_not_understood_is_refused(header: str) -> None:
    with pytest.raises(Invalid, match="begin with the line address,app,reason"):
        lines("ann@example.org", header=header)


@pytest.mark.parametrize(
    ("told", "field", "detail"),
    [
        ("ann@,,,,,", "address", "after the @-sign"),
        (",shop,,,,", "address", "required"),
        ("a@example.org,No App,,,,", "app", "pattern"),
        ("a@example.org,,because,,,", "reason", "'hard_bounce'"),
        ("a@example.org,,,yesterday,,", "since", "write it as 2026-03-04T12:30:00Z"),
        ("a@example.org,,,2026-01-01,,", "since", "write it as 2026-03-04T12:30:00Z"),
        ("a@example.org,,,2027-01-01T00:00:00Z,,", "since", "leave it empty, which means now"),
        ("a@example.org,,,2026-01-01T00:00:00Z,2025-01-01T00:00:00Z,", "until", "leave it empty, which means for ever"),
        ("a@example.org,,,,2025-01-01T00:00:00Z,", "until", "leave it empty, which means for ever"),
        ("a@example.org,,,,0001-01-01T00:00:00+10:00,", "until", "is outside of the years"),
        (f"a@example.org,,,,,{'x' * 1001}", "why", "1000"),
        ("a@example.org,,,,,a,b", "", "put a field with a comma in quotation marks"),
    ],
)
def test_a_wrong_line_is_told_with_its_field_and_remedy(told: str, field: str, detail: str) -> None:
    found, [fault] = lines("first@example.org,,,,,", told, "last@example.org,,,,,")
    assert [each.line for each in found] == [2, 4]
    assert (fault.line, fault.field) == (3, field)
    assert detail in fault.detail


def test_the_number_is_that_of_the_line_on_which_a_record_begins() -> None:
    _, [fault] = lines('a@example.org,,,,,"two\nlines"', "nonsense,,,,,")
    assert fault.line == 4


def test_what_stands_there_twice_is_told() -> None:
    _, [fault] = lines("ann@example.org,,,,,", "ANN@example.org,,,,,again", "ann@example.org,shop,,,,")
    assert fault == Wrong(3, "address", "stands on line 2 already; remove one")


def test_a_quotation_mark_that_is_not_closed_is_told() -> None:
    found, [fault] = lines("ann@example.org,,,,,", 'bob@example.org,,,,,"open')
    assert [each.address for each in found] == ["ann@example.org"]
    assert (fault.line, "mend the quotation marks" in fault.detail) == (3, True)


def test_a_client_of_one_app_speaks_for_it_alone() -> None:
    found, [fault] = read("address,app\na@example.org,\nb@example.org,shop\nc@example.org,desk", SHOP, NOON)
    assert [each.evidence.app for each in found] == ["shop", "shop"]
    assert fault == Wrong(4, "app", "the key of shop-key speaks for shop alone; leave app out")


FORMULAS = ('=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "'=x", "''")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_field_is_a_formula(text: str) -> None:
    [[field]] = csv.reader(io.StringIO(row([text]), newline=""))
    assert field == f"'{text}"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).map(str.strip).filter(bool))
@modest
def test_what_is_written_can_be_read(why: str) -> None:
    text = row(COLUMNS) + row(("+ann@example.org", None, "manual", NOON, NOON + DAY, why))
    [[*_], [*written]] = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert len(written) == len(COLUMNS)
    [found], _ = read(text, LOCAL, NOON)
    evidence = found.evidence
    assert (found.address, evidence.why) == ("+ann@example.org", why)
    assert (evidence.at, evidence.until) == (NOON, NOON + DAY)


def known(kind: str, at_day: float, **fields: object) -> Evidence:
    told = {"kind": kind, "at": NOON + at_day * DAY, **fields}
    return Evidence(id=derived_id(*told.items()), **told)  # type: ignore[arg-type]


YESTERDAY, TOMORROW = (NOON - DAY).isoformat(), (NOON + DAY).isoformat()


@pytest.mark.parametrize(
    ("line", "before", "result"),
    [
        ("a@example.org,,,,,", [], "added"),
        ("a@example.org,,,,,", [known("added", -1, reason="manual")], "on the list already"),
        (f"a@example.org,,,,{TOMORROW},", [known("added", -1, reason="manual")], "changed"),
        (f"a@example.org,,,{YESTERDAY},,", [known("added", -1, reason="manual")], "on the list already"),
        (f"a@example.org,,,{YESTERDAY},,", [known("added", -2, reason="manual")], "changed"),
        (f"a@example.org,,,{YESTERDAY},{TOMORROW},", [known("added", 0, reason="manual")], "newer"),
        ("a@example.org,,,,,", [known("added", -1, reason="manual", until=NOON)], "added"),
        ("a@example.org,,,,,", [known("added", -2, reason="manual"), known("lifted", -1)], "added"),
        (f"a@example.org,,,{YESTERDAY},,", [known("lifted", -1)], "was lifted at"),
        ("a@example.org,,,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,", [], "has ended already"),
        (f"a@example.org,,hard_bounce,{YESTERDAY},{TOMORROW},", [known("hard_bounce", 0)], "lasts longer"),
        ("a@example.org,,hard_bounce,,,", [known("hard_bounce", 0)], "changed"),
        ("a@example.org,shop,,,,", [known("added", -1, reason="manual")], "added"),
    ],
)
def test_an_import_says_what_it_would_do(line: str, before: list[Evidence], result: str) -> None:
    made = plan(good(line), {"a@example.org": before}, NOON)
    told = ["added"] * len(made.added) + ["changed"] * len(made.changed) + [because for _, because in made.ignored]
    assert len(told) == 1
    assert result in told[0]


def test_what_was_imported_is_ignored_the_second_time() -> None:
    text = (f"a@example.org,,,{YESTERDAY},,", "b@example.org,shop,unsubscribed,,,", "c@example.org,,hard_bounce,,,")
    taken = {each.address: [each.evidence] for each in plan(good(*text), {}, NOON).added}
    again = plan(good(*text), taken, NOON)
    assert (again.added, again.changed, len(again.ignored)) == ([], [], 3)
