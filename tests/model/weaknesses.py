"""What the protocol can be left without, to see that the search notices."""

from __future__ import annotations

from enum import StrEnum


class Weakness(StrEnum):
    """What the protocol can be left without, to see that the search notices."""

    NO_DOUBT = "no in_doubt commit: the final dot is sent from `leased`"
    DOUBT_UNFENCED = "the in_doubt commit does not ask for the fence"
    DOUBT_BLIND_TO_CANCEL = "the in_doubt commit does not ask for the state, so it overlooks a cancel"
    DOUBT_BLIND_TO_SUPPRESSION = "the in_doubt commit does not look at the suppressions"
    DOT_WITHOUT_CLOCK = "the final dot is sent without a look at the clock: the in_doubt lease may be over"
    DOUBT_TOO_SHORT = "the in_doubt lease ends while the server may still take the final dot"
    LEASE_END_UNFENCED = (
        "a lease that ends goes back to `ready` under the same fence, so a final reply looks like no late one"
    )
    TAKE_OVER_UNFENCED = "who takes an expired in_doubt over does not raise the fence"
    UNKNOWN_UNRECORDED = "an expired in_doubt goes back to `ready`, and nothing is recorded"
    PARK_RETRIED = "an unknown outcome is tried again although the request says `park`"
    SETTLE_UNFENCED = "settle does not ask for the fence"
    NO_LATE_RULE = "a final reply under an older fence is dropped"
    LATE_FORGOTTEN = "a late final reply that gives way to an attempt in doubt leaves no mark on the row"
    IN_DOUBT_CANCELLED = "a cancel is confirmed while the delivery is in doubt"
    EVENT_AFTER = "the event is written after its outcome's transaction, and a crash comes between"
    EVENT_BEFORE = "the event is written before its outcome's transaction, which may then be refused"
    DELETE_UNCONFIRMED = "an event is deleted from the outbox before the broker confirmed it"
    ACK_BEFORE_COMMIT = "a request is acknowledged to the broker before its rows are committed"
    INTAKE_WITHOUT_KEY = "a request that comes again is inserted again"
