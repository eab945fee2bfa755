"""What a client is told in place of an answer."""

from __future__ import annotations

from uuid import UUID

from tracepost.problems import Problem

TRANSIENT = (429, 502, 503, 504)


class Refused(Exception):
    """A service answered that it will not; `problem` says why, with every fault and its place in what was asked."""

    def __init__(self, problem: Problem) -> None:
        faults = [f"{each.pointer or 'the request'} {each.detail}" for each in problem.errors]
        told = "; ".join(filter(None, (problem.detail, *faults)))
        super().__init__(f"{problem.title}: {told}" if told else problem.title)
        self.problem = problem

    @property
    def transient(self) -> bool:
        """Whether the same may be answered soon."""
        return self.problem.status in TRANSIENT


class Unreachable(Exception):
    """No answer; the text says from where, and the remedy."""


class Unconfirmed(Exception):
    """The request may have been taken: send it again with this `message_id`, and it is sent once."""

    def __init__(self, message_id: UUID, reason: object) -> None:
        super().__init__(f"{reason}; send it again with message_id {message_id}: it is sent once")
        self.message_id = message_id


class Unanswered(Exception):
    """The broker has the request, and no sender has looked at it yet; what becomes of it is told by `message_id`."""

    def __init__(self, message_id: UUID) -> None:
        super().__init__(
            f"the broker has confirmed message {message_id}, but no sender has answered yet: it is sent once one runs;"
            " see that the sender does, and that this user may declare a queue for answers"
        )
        self.message_id = message_id
