"""The JSON Schemas in docs/ are those of the models, and the models hold to the contract's rules on change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.samples import DATA, body, sample
from tracepost.events import encode
from tracepost.schemas import documents, main

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
REMEDY = "run `python -m tracepost.schemas` in the project's root, and look at what changed: a version may only add"


@pytest.mark.parametrize("name", documents())
def test_a_schema_is_up_to_date(name: str) -> None:
    path = SCHEMAS / name
    assert path.exists(), f"{path} is missing; {REMEDY}"
    # Compared as JSON first, so that a failure shows the difference.
    assert json.loads(path.read_text("utf-8")) == json.loads(documents()[name]), f"{path} is stale; {REMEDY}"
    assert path.read_text("utf-8") == documents()[name], f"{path} is stale; {REMEDY}"


def test_there_is_no_schema_of_what_is_no_more() -> None:
    assert {path.name for path in SCHEMAS.iterdir()} == documents().keys(), REMEDY


def test_every_event_and_the_request_have_a_schema() -> None:
    assert documents().keys() == {"send-request.json", *(f"{sample(data).name}.json" for data in DATA)}


@pytest.mark.parametrize("data", DATA, ids=lambda data: type(data).__name__)
def test_a_schema_tells_every_attribute_that_is_published(data: object) -> None:
    event = sample(data)  # type: ignore[arg-type]  # each is a Data
    schema = json.loads(documents()[f"{event.name}.json"])
    published = json.loads(encode(event))
    assert published.keys() <= schema["properties"].keys()
    assert schema["properties"]["type"]["const"] == schema["title"] == event.type
    told = schema["$defs"][type(data).__name__]
    assert published["data"].keys() <= told["properties"].keys()
    assert set(told.get("required", ())) <= published["data"].keys()


def test_consumers_ignore_unknown_fields_and_publishers_may_not_send_them() -> None:
    for name, text in documents().items():
        assert json.loads(text).get("additionalProperties", True) is (name != "send-request.json")


def test_the_request_is_described_as_it_is_published() -> None:
    schema = json.loads(documents()["send-request.json"])
    assert json.loads(body()).keys() <= schema["properties"].keys()
    assert schema["required"] == ["message_id", "from"]
    assert "from_" not in schema["properties"]


def test_writing_makes_the_directory_what_it_should_be(tmp_path: Path) -> None:
    target = tmp_path / "new" / "schemas"
    main(str(target))
    (target / "gone.json").write_text("{}")
    (target / "bounced.json").write_text("stale")
    main(str(target))
    assert {path.name: path.read_text("utf-8") for path in target.iterdir()} == documents()
