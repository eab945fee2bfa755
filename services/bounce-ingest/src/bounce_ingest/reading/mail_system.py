"""Tells whether a mail system wrote a mail to report that something was not delivered."""

from __future__ import annotations

import re

from bounce_ingest.reading.notice import Notice
from bounce_ingest.reading.parts import Part
from bounce_ingest.reading.wording import tells

_DAEMON = re.compile(r"(?i)mailer.?daemon|mail delivery (sub)?system")
_REPLY = re.compile(r"\b[45]\d\d[ -][45]\.\d{1,3}\.\d{1,3}\b")
_OF_LISTS = {"list-id", "list-post", "list-unsubscribe"}
MAX_LOOKED_AT = 4000  # characters


def is_mail_system(mail: Part) -> bool:
    """By the sender's name, and by what only mail systems write."""
    return bool(
        tells("mail_system", mail.get("from").lower())
        or mail.get("from").strip(" \"'") in {"", "<>"}
        or mail.get("x-failed-recipients")
        or _is_delivery_report(mail)
    )


def is_daemon(mail: Part) -> bool:
    """Whether the sender is one who writes nothing but reports."""
    return _DAEMON.search(mail.get("from")) is not None


def reports_failure(mail: Part, notice: Notice) -> bool:
    """Whether the mail is a report; of what people write to each other about reports it must not be true."""
    subject = says_so(mail, notice)
    told = tells("failure", notice.lower[:MAX_LOOKED_AT])
    is_of_a_list = not mail.fields.keys().isdisjoint(_OF_LISTS)
    if is_mail_system(mail):
        return subject or (told and (is_daemon(mail) or not is_of_a_list))
    is_conversation = is_of_a_list or notice.subject.lower().startswith(("re:", "fwd:", "fw:", "aw:"))
    return told and (subject or comes_back(mail, notice)) and not is_conversation


def looks_like_a_failure(mail: Part, notice: Notice) -> bool:
    """Whether it is one in a language that we have no words of: a daemon shows a message or a server's refusal."""
    return is_daemon(mail) and bool(notice.inner or _REPLY.search(notice.text, 0, MAX_LOOKED_AT))


def comes_back(mail: Part, notice: Notice) -> bool:
    """Whether it brings a message back to its sender, or has the empty return path, as automatic replies have too."""
    return mail.get("return-path") == "<>" or bool({*notice.to} & {*notice.returned.sender})


def says_so(mail: Part, notice: Notice) -> bool:
    """Whether the header alone says that it is a report."""
    named = bool(mail.get("x-failed-recipients"))
    return named or tells("subject", notice.subject.lower()) or _is_delivery_report(mail)


def _is_delivery_report(mail: Part) -> bool:
    return mail.type == "multipart/report" and "delivery-status" in mail.get("content-type").lower()
