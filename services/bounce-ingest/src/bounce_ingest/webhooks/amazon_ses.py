"""Amazon SES by SNS: what its event records and its notifications tell.

Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from bounce_ingest.webhooks import fields, sns
from bounce_ingest.webhooks.causes import held_back, refusal
from bounce_ingest.webhooks.values import Call, Ignored, Strange, Telling, Told
from tracepost.bounces.values import FeedbackType
from tracepost.events import Bounced, Complained, Data, Deferred, Delivered, Opened

NAME, ORIGIN = "amazon-ses", "webhook:amazon-ses"

TAG = "tracepost_token"  # of X-SES-MESSAGE-TAGS, whose values admit no plus sign
HEADER = "tracepost-token"

# https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types
_BOUNCES: Mapping[str, str] = {
    "NoEmail": "invalid_recipient",
    "MailboxFull": "mailbox_full",
    "MessageTooLarge": "too_large",
    "ContentRejected": "content",
    "AttachmentRejected": "attachment",
}
_NOT_TRIED = {"Suppressed", "OnAccountSuppressionList"}
_DELAYS: Mapping[str, str] = {
    "InternalFailure": "system",
    "MailboxFull": "mailbox_full",
    "SpamDetected": "spam_content",
    "RecipientServerError": "system",
    "IPFailure": "ip_reputation",
    "TransientCommunicationFailure": "network",
    "BYOIPHostNameLookupUnavailable": "no_ptr",
    "SendingDeferral": "rate",
}
_FEEDBACK: Mapping[str, FeedbackType] = {kind: kind for kind in get_args(FeedbackType)}
_IGNORED: Mapping[str, str] = {
    "Send": "SES has taken it, as the sender knows",
    "Click": "clicks are not tracked",
    "AmazonSnsSubscriptionSucceeded": "SES has begun to use the topic",
}
# What SNS posts once when SES begins to use a topic.
_GREETING = "Successfully validated SNS topic"

Recipients = Iterator[tuple[str | None, Data]]


def elements(call: Call) -> list[object]:
    """The one event of a notification; what SNS says of the subscription itself as it came."""
    posted = sns.envelope(call)
    message = posted.get("Message")
    if posted["Type"] != "Notification" or not isinstance(message, str):
        return [posted]
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return [posted]
    return [found if isinstance(found, dict) else posted]


def tell(element: object) -> Telling:
    """What one event tells of each recipient that it names."""
    if "Type" in fields.at(element):
        return _of_the_subscription(element)
    kind = fields.text(element, "eventType") or fields.text(element, "notificationType")
    if why := _IGNORED.get(kind):
        return Ignored(why)
    if kind not in _KINDS:
        return Strange("unknown_event")
    about, read = _KINDS[kind]
    found = fields.at(element, about)
    told = list(read(found, element))
    mail = fields.at(element, "mail")
    # Neither names the moment: a rendering failure, which is told once, and a rejection.
    when = fields.text(found, "timestamp") or fields.text(mail, "timestamp")
    key = "/".join((fields.text(mail, "messageId"), kind, fields.text(found, "feedbackId") or when))
    headers = _headers(mail)
    return [
        Told(
            key,
            data,
            fields.iso(when),
            recipient,
            tuple(_tokens(mail, headers)),
            headers.get("message-id", ""),
            forwards=kind == "Bounce",  # from the Final-Recipient of a delivery report
        )
        for recipient, data in told
    ] or Ignored("it names nobody to whom anything has happened")


def _of_the_subscription(posted: object) -> Telling:
    if fields.text(posted, "Message").startswith(_GREETING):
        return Ignored("SES has begun to use the topic")
    return Strange("unknown_event" if fields.text(posted, "Type") == "Notification" else "subscription")


def _headers(mail: object) -> dict[str, str]:
    return {fields.text(each, "name").lower(): fields.text(each, "value") for each in fields.items(mail, "headers")}


def _tokens(mail: object, headers: Mapping[str, str]) -> Iterator[str]:
    """In the tag, in our header where headers are repeated, and in the return path."""
    yield from (fields.text(each) for each in fields.items(mail, "tags", TAG))
    yield headers.get(HEADER, "")
    yield fields.return_path(mail, "source")


def _bounce(bounce: object, _: object) -> Recipients:
    kind, subtype = fields.text(bounce, "bounceType"), fields.text(bounce, "bounceSubType")
    for each in fields.items(bounce, "bouncedRecipients"):
        words, status = fields.text(each, "diagnosticCode"), fields.text(each, "status")
        recipient = fields.text(each, "emailAddress")
        if subtype in _NOT_TRIED:
            yield recipient, Bounced(**held_back(NAME, f"{kind}: {subtype}"))
        elif words or status or (kind, subtype) != ("Transient", "General"):  # which is how it tells of absence
            otherwise = "invalid_recipient" if kind == "Permanent" and not words else None
            found = refusal(NAME, words, status=status, category=_BOUNCES.get(subtype), otherwise=otherwise)
            yield recipient, Bounced(**found, remote_mta=_host(bounce))


def _delay(delay: object, _: object) -> Recipients:
    category = _DELAYS.get(fields.text(delay, "delayType"))
    for each in fields.items(delay, "delayedRecipients"):
        words, status = fields.text(each, "diagnosticCode"), fields.text(each, "status")
        found = refusal(NAME, words, status=status, category=category)
        yield fields.text(each, "emailAddress"), Deferred(**found, remote_mta=_host(delay))


def _complaint(complaint: object, _: object) -> Recipients:
    stated = fields.text(complaint, "complaintFeedbackType") or "abuse"
    reporter = fields.text(complaint, "userAgent") or None
    for each in fields.items(complaint, "complainedRecipients"):
        recipient = fields.text(each, "emailAddress")
        if (subtype := fields.text(complaint, "complaintSubType")) in _NOT_TRIED:
            yield recipient, Bounced(**held_back(NAME, f"Complaint: {subtype}"))
        elif stated != "auth-failure":  # a receiver's word about our signatures (RFC 6591)
            kind = _FEEDBACK.get(stated, "other")
            yield recipient, Complained(feedback_type=kind, reporter=reporter, origin=ORIGIN)


def _delivery(delivery: object, _: object) -> Recipients:
    response = fields.text(delivery, "smtpResponse")
    ip = fields.text(delivery, "remoteMtaIp") or None
    for each in fields.items(delivery, "recipients"):
        yield fields.text(each), Delivered(response=response, remote_ip=ip, origin=ORIGIN)


def _open(_: object, element: object) -> Recipients:
    yield _only(element), Opened(verdict="unknown", rule=f"{NAME}-open", origin=ORIGIN)


def _reject(reject: object, element: object) -> Recipients:
    words = fields.text(reject, "reason")  # "Bad content", which means a virus
    yield _only(element), Bounced(**held_back(NAME, words, "virus"))


def _failure(failure: object, element: object) -> Recipients:
    yield _only(element), Bounced(**held_back(NAME, fields.text(failure, "errorMessage"), "system"))


def _subscription(subscription: object, element: object) -> Recipients:
    if fields.at(subscription, "newTopicPreferences", "unsubscribeAll") is True:
        yield _only(element), Complained(feedback_type="opt-out", origin=ORIGIN)


def _only(element: object) -> str | None:
    """Whom the mail went to, where that is one; it is never said who of several did something."""
    named = fields.items(element, "mail", "destination")
    return fields.text(named[0]) if len(named) == 1 else None


def _host(of: object) -> str | None:
    return fields.text(of, "reportingMTA").rpartition(";")[2].strip() or None


_KINDS: Mapping[str, tuple[str, Callable[[Any, Any], Recipients]]] = {
    "Bounce": ("bounce", _bounce),
    "Complaint": ("complaint", _complaint),
    "Delivery": ("delivery", _delivery),
    "DeliveryDelay": ("deliveryDelay", _delay),
    "Open": ("open", _open),
    "Reject": ("reject", _reject),
    "Rendering Failure": ("failure", _failure),
    "Subscription": ("subscription", _subscription),
}
