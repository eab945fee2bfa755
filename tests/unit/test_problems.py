"""Problem documents: short, and each fault in its place."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, field_validator

from tests.unit.samples import modest, told
from tracepost.problems import MOST_BYTES, MOST_FAULTS, Fault, Invalid, Problem, from_validation, repeated


class Inner(BaseModel, extra="forbid"):
    count: int


class Outer(BaseModel):
    inner: Inner | None = None
    many: list[Inner] = []
    names: dict[str, int] = {}
    word: Annotated[str, Field(max_length=3)] = ""

    @field_validator("word")
    @classmethod
    def _quiet(cls, word: str) -> str:
        if word.isupper():
            raise ValueError("is loud; write it small")
        return word


def faults(**fields: Any) -> Problem:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate(fields)
    return from_validation(raised.value, "bad", "It is bad")


def test_the_document_has_the_members_of_rfc_9457() -> None:
    problem = Problem(code="conflict", title="Taken", status=409, detail="make a new one")
    assert json.loads(problem.document()) == {
        "type": "urn:tracepost:problem:conflict",
        "title": "Taken",
        "status": 409,
        "detail": "make a new one",
        "code": "conflict",
    }


def test_the_status_is_told_even_where_it_is_the_usual_one() -> None:
    assert json.loads(Problem(code="c", title="t").document())["status"] == 422


def test_every_fault_is_named_by_its_pointer() -> None:
    problem = faults(inner={"extra": 1}, many=[{"count": 1}, {"count": "x"}], names={"a/b~c": "x"}, word="LOUD")
    assert told(problem) == {
        "/inner/count": "required, but absent",
        "/inner/extra": "unknown field: remove it, or check its spelling",
        "/many/1/count": "Input should be a valid integer, unable to parse string as an integer",
        "/names/a~1b~0c": "Input should be a valid integer, unable to parse string as an integer",
        "/word": "String should have at most 3 characters",
    }
    assert (problem.code, problem.title, problem.more_errors) == ("bad", "It is bad", 0)


def test_our_own_words_are_told_as_they_are() -> None:
    assert told(faults(word="NO")) == {"/word": "is loud; write it small"}


def test_what_is_no_json_is_told_with_its_place() -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate_json(b'{"word": ')
    (detail,) = told(from_validation(raised.value, "c", "t")).values()
    assert detail.startswith("the body is not JSON: ")
    assert "line 1" in detail


def test_the_input_is_not_repeated() -> None:
    problem = faults(many=[{"count": "secret"}], word="secret")
    assert b"secret" not in problem.document()


def test_what_is_given_more_than_once_is_told_once() -> None:
    found = {each.pointer: each.detail for each in repeated(["app", "a/b", "to", "app", "a/b", "app"])}
    assert found == dict.fromkeys(["/app", "/a~1b"], "is given more than once; give it once")
    assert repeated(["app", "to"]) == []


def test_faults_beyond_50_are_counted() -> None:
    problem = faults(many=[{}] * 80)
    assert (len(problem.errors), problem.more_errors) == (MOST_FAULTS, 30)
    assert json.loads(problem.document())["more_errors"] == 30


@modest
@given(st.lists(st.tuples(st.text(max_size=300), st.integers(0, 3000)), max_size=60), st.integers(0, 1000))
def test_the_document_is_short_and_every_fault_is_told_or_counted(said: list[tuple[str, int]], more: int) -> None:
    errors = tuple(Fault(pointer="/" + pointer, detail="x" * length) for pointer, length in said)
    text = Problem(code="c", title="t", errors=errors, more_errors=more).document()
    assert len(text) <= MOST_BYTES
    document = json.loads(text)
    kept = [Fault(**each) for each in document.get("errors", [])]
    assert kept == list(errors[: len(kept)])
    assert len(kept) + document.get("more_errors", 0) == len(errors) + more


def test_a_document_that_is_short_enough_is_whole() -> None:
    errors = tuple(Fault(pointer=f"/{number}", detail="d") for number in range(MOST_FAULTS))
    assert len(json.loads(Problem(code="c", title="t", errors=errors).document())["errors"]) == MOST_FAULTS


def test_a_long_detail_is_cut_too() -> None:
    assert len(Problem(code="c", title="t", detail="x" * 10_000).document()) <= MOST_BYTES


def test_invalid_carries_the_problem_and_reads_as_its_detail() -> None:
    problem = Problem(code="c", title="title", detail="detail")
    assert (Invalid(problem).problem, str(Invalid(problem))) == (problem, "detail")
    assert str(Invalid(Problem(code="c", title="title"))) == "title"
