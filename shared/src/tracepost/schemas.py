"""The JSON Schemas of the contract, made from its models: `python -m tracepost.schemas [directory]` writes them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from tracepost.events import AnyEvent
from tracepost.requests import SendRequest

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def documents() -> Mapping[str, str]:
    """Every schema as text, by file name."""
    return {f"{name}.json": json.dumps(schema, indent=2) + "\n" for name, schema in _schemas()}


def _schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "send-request", _schema(SendRequest, "SendRequest")
    for model in get_args(get_args(AnyEvent)[0]):
        (title,) = get_args(model.model_fields["type"].annotation)
        yield title.split(".")[1], _schema(model, title)


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    return {"$schema": DIALECT} | model.model_json_schema() | {"title": title}


def main(directory: str = "docs/schemas") -> None:
    """Write every schema, and remove what is none of them."""
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    made = documents()
    for stale in {path.name for path in target.glob("*.json")} - made.keys():
        (target / stale).unlink()
    for name, text in made.items():
        (target / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
