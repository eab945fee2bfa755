"""Every operation of the API, with what it takes and what it answers; pure."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from status_store import answers, asked
from tracepost.keys import Scope

Method = Literal["get", "post", "delete"]


class Operation(NamedTuple):
    """`answer` None: no content; `scope` None: without a key; `stream`: as server-sent events too, or `only`."""

    method: Method
    path: str
    summary: str
    scope: Scope | None
    answer: type[BaseModel] | None
    status: int = 200
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    view_token: bool = False
    etag: bool = False
    stream: Literal["no", "too", "only"] = "no"
    refusals: tuple[int, ...] = ()

    @property
    def statuses(self) -> tuple[int, ...]:
        """With which problem documents it may answer."""
        found = {422, 503, *self.refusals}  # any parameter may be given twice
        found |= {401, 403} if self.scope else set()
        found |= {400, 404} if "{" in self.path else set()
        found |= {413} if self.body else set()
        found |= {403} if self.method != "get" else set()  # for pages of other origins
        return tuple(sorted(found))


_MESSAGE = "/v1/messages/{id}"

OPERATIONS: tuple[Operation, ...] = (
    Operation("get", "/v1/messages", "Messages, newest first", "read", answers.Messages, query=asked.Listing),
    Operation("post", "/v1/messages/search", "The same, by recipient too", "read", answers.Messages, body=asked.Search),
    Operation("get", _MESSAGE, "A message with its deliveries", "read", answers.MessageWhole, etag=True),
    Operation("get", f"{_MESSAGE}/events", "Its timeline", "read", answers.Timeline),
    Operation("get", f"{_MESSAGE}/deliveries/{{number}}/why", "Why a delivery has its status", "read", answers.WhyTold),
    Operation(
        "post",
        f"{_MESSAGE}/deliveries/{{number}}/replied",
        "The recipient has answered",
        "send",
        answers.Recorded,
        202,
        body=asked.Answered,
    ),
    Operation("post", f"{_MESSAGE}/seen", "Somebody has seen the delivery issue", "read", None, 204),
    Operation("post", f"{_MESSAGE}/view-token", "A token for a browser's badge", "read", answers.ViewToken),
    Operation("get", f"{_MESSAGE}/badge", "The badge", "read", answers.Badge, view_token=True, etag=True),
    Operation(
        "get",
        f"{_MESSAGE}/badge/live",
        "The badge, and again when it changes: events named `badge`",
        "read",
        answers.Badge,
        view_token=True,
        stream="only",
    ),
    Operation(
        "get",
        "/v1/changes",
        "What changed: a page, or events named `change`",
        "read",
        answers.Changes,
        query=asked.Following,
        stream="too",
        refusals=(410,),
    ),
    Operation("get", "/v1/stats", "Statistics", "read", answers.Statistics, query=asked.Stats),
    Operation(
        "post",
        "/v1/recipients/erase",
        "Erase an address, for all apps and services",
        "operate",
        answers.Receipt,
        202,
        body=asked.Wish,
    ),
    Operation(
        "post",
        "/v1/recipients/withdraw",
        "Later opens do not count: consent is withdrawn",
        "operate",
        answers.Receipt,
        202,
        body=asked.Wish,
    ),
    Operation(
        "post",
        "/v1/recipients/export",
        "Everything that is stored of an address",
        "operate",
        answers.Export,
        body=asked.Wish,
    ),
    Operation("get", "/v1/receipts/{id}", "How far a wish is", "operate", answers.Receipt),
    Operation(
        "get", "/v1/dead-letters", "What could not be processed", "operate", answers.DeadLetters, query=asked.Letters
    ),
    Operation("get", "/v1/dead-letters/{id}", "A dead letter whole", "operate", answers.DeadLetter),
    Operation(
        "post",
        "/v1/dead-letters/{id}/replay",
        "Publish it again to where it was for",
        "operate",
        answers.DeadLetter,
        refusals=(409,),
    ),
    Operation("delete", "/v1/dead-letters/{id}", "Forget it", "operate", None, 204),
    Operation(
        "post", "/v1/session", "Begin a browser's session", None, answers.SignedIn, body=asked.SignIn, refusals=(401,)
    ),
    Operation("get", "/v1/session", "Who asks", "read", answers.SignedIn),
    Operation("delete", "/v1/session", "End the session", None, None, 204),
    Operation("post", "/v1/session/login", "A login for a link, good once", "read", answers.Login),
)


def parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    """The parameters of a query's model."""
    schema = query.model_json_schema(by_alias=True)
    return [
        {"name": name, "in": "query", "schema": each, "required": name in schema.get("required", ())}
        for name, each in schema["properties"].items()
    ]
