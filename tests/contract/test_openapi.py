"""The API's description is that of its models, and of all that is served."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from status_store import app
from status_store.api import api
from status_store.openapi import document, main, text
from tests.running import Running, running

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
REMEDY = "run `python -m status_store.openapi` in the project's root, and look at what changed: it may only add"


def test_the_description_is_up_to_date() -> None:
    assert json.loads(FILE.read_text("utf-8")) == document(), f"{FILE} is stale; {REMEDY}"
    assert FILE.read_text("utf-8") == text(), f"{FILE} is stale; {REMEDY}"


def test_writing_it_makes_the_file(tmp_path: Path) -> None:
    main(str(tmp_path / "openapi.json"))
    assert (tmp_path / "openapi.json").read_text("utf-8") == text()


async def test_all_that_is_served_is_described_and_nothing_else(
    broker: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: set[tuple[str, str]] = set()

    def noted(origins: Any, *routes: web.RouteDef) -> web.Application:
        served.update((each.method.lower(), each.path) for each in routes if each.path.startswith("/v1/"))
        return api(origins, *routes)

    monkeypatch.setattr(app, "api", noted)
    async with running(broker, database) as service:
        assert await _described(service) == document()
    described = {(method, path) for path, each in document()["paths"].items() for method in each}
    assert served - {("get", "/v1/openapi.json")} == described


async def _described(service: Running) -> Any:
    return await service.ask("GET", "/openapi.json", key="nobody's")


def test_every_reference_leads_somewhere() -> None:
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text()))
    assert names <= document()["components"]["schemas"].keys()


def test_no_address_can_stand_in_a_url() -> None:
    for path, methods in document()["paths"].items():
        for told in methods.values():
            names = {each["name"] for each in told["parameters"] if each["in"] in ("query", "path")}
            assert not names & {"recipient", "address", "to_address"}, path
