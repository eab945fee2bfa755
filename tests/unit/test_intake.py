"""Send requests as they come from the broker, which says whose they are."""

from __future__ import annotations

import pytest

from sender.apps import Apps
from sender.intake import codec
from sender.lanes import Lane
from tests.unit.samples import body, incoming
from tracepost.keys import Client, Keys, hashed
from tracepost.problems import Invalid, Problem

KEYS = Keys(
    [Client(client="help", app="help-desk", scopes={"send"}, sender_domains=("example.org",), hashes=(hashed("k"),))]
)


def apps(default: str | None) -> Apps:
    return Apps(KEYS, frozenset({"door"}), default)


PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def whole_refused(raw: bytes, default_app: str | None = "local", **properties: str) -> Problem:
    with pytest.raises(Invalid) as raised:
        codec("normal", apps(default_app)).decode(incoming(raw, **properties))
    return raised.value.problem


@pytest.mark.parametrize("lane", ["normal", "bulk"])
def test_a_submission_is_the_request_and_what_the_broker_says_of_it(lane: Lane) -> None:
    raw = body(subject="Grüße")
    message = incoming(
        raw, user_id="help-desk", reply_to="answers", correlation_id="7", headers={"traceparent": PARENT}
    )
    (made,) = codec(lane, apps("local")).decode(message)
    assert not hasattr(made, "problem")
    assert (made.request.subject, made.body, made.lane) == ("Grüße", raw, lane)
    assert (made.app, made.reply_to, made.correlation_id, made.traceparent) == ("help-desk", "answers", "7", PARENT)
    assert codec(lane, apps(None)).encode(made) == raw


def test_a_request_without_a_user_is_the_default_apps() -> None:
    (made,) = codec("normal", apps("local")).decode(incoming(body()))
    assert not hasattr(made, "problem")
    assert made.app == "local"


@pytest.mark.parametrize("default_app", [None, ""])
def test_a_request_of_nobody_is_refused(default_app: str | None) -> None:
    problem = whole_refused(body(), default_app)
    assert (problem.code, problem.status) == ("no-app", 403)
    assert "user_id" in (problem.detail or "")


def test_a_header_cannot_say_whose_a_request_is() -> None:
    headers = {"user_id": "other", "tracepost-app": "other"}
    (made,) = codec("normal", apps(None)).decode(incoming(body(), user_id="help-desk", headers=headers))
    assert not hasattr(made, "problem")
    assert made.app == "help-desk"


def test_a_spokesman_may_say_whose_a_request_is() -> None:
    message = incoming(body(), user_id="door", headers={"tracepost-app": "shop"})
    (made,) = codec("normal", apps(None)).decode(message)
    assert not hasattr(made, "problem")
    assert made.app == "shop"


def test_an_app_with_keys_sends_from_its_domains_alone() -> None:
    problem = whole_refused(body(sender="ann@example.net"), user_id="help-desk")
    assert (problem.code, problem.status, problem.errors[0].pointer) == ("sender-domain", 403, "/from")
    (made,) = codec("normal", apps(None)).decode(incoming(body(sender="ann@example.net"), user_id="another"))
    assert not hasattr(made, "problem")


def test_an_app_without_the_scope_cannot_override_suppression() -> None:
    raw = body(sender="ann@example.org", override_suppression="they asked us to")
    problem = whole_refused(raw, user_id="help-desk")
    assert (problem.code, problem.status, problem.errors[0].pointer) == ("override", 403, "/override_suppression")


def test_an_invalid_request_is_refused_with_every_fault() -> None:
    assert {fault.pointer for fault in whole_refused(body(subject=5, sender="nobody")).errors} == {"/subject", "/from"}
    assert whole_refused(b"{").code == "invalid-request"


@pytest.mark.parametrize("parent", [b"bytes", 5, None, ["a"]])
def test_a_trace_that_is_no_text_is_left_out(parent: object) -> None:
    (made,) = codec("normal", apps("local")).decode(incoming(body(), headers={"traceparent": parent}))
    assert not hasattr(made, "problem")
    assert made.traceparent is None


@pytest.mark.parametrize("parent", ["\0", "nonsense", "00-" + "x" * 5000])
def test_a_trace_that_is_none_is_left_out(parent: str) -> None:
    (made,) = codec("normal", apps("local")).decode(incoming(body(), headers={"traceparent": parent}))
    assert not hasattr(made, "problem")
    assert made.traceparent is None
