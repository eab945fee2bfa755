"""Makes one recipient's report of what a mail says: the codes, the cause, the command that was answered."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bounce_ingest.reading.values import Action, RecipientReport
from tracepost.bounces.classify import Stage, classify, codes

MAX_BEFORE = 40  # characters before a command that say that it was answered
MAX_WORDS = 4000  # characters of a diagnostic that are kept

_REPLY = re.compile(
    r"(?m)^[ \t>]{0,8}(?:[^\n:@]{1,40}:[ \t]{0,8})?#?"
    r"(?P<reply>([45]\d\d)[ -][45]\.\d\.\d{1,3}\b[^\w\n]{1,3}\w.*(?:\n[ \t>]{0,8}\2[ -].*)*)"
)

# All of these look at words in lower case.
_COMMAND = re.compile(r"\b(?:mail[ _]from|rcpt|data|helo|ehlo|initial)")
# What stands before the command that was answered. Postfix: "(in reply to end of DATA command)"; Exim: "after RCPT
# TO:<…>", "after end of data"; Yahoo: "[RCPT_TO]"; DragonFly: "did not like our RCPT TO:"; X3: "SMTP:RCPT host";
# m-FILTER: the command below "SMTP command".
_ANSWERED = re.compile(
    r"(?:in reply to|after|did not like our(?: final)?|\[|step: |smtp:|smtp command)"
    r"(?: end of| pipelined| sending)*\s{0,3}$"
)
_STAGES: dict[str, Stage] = {"mail": "mail", "rcpt": "rcpt", "data": "data", "init": "connect"}
# qmail's own words for it, and those who copied them.
_TOLD: dict[str, Stage] = {
    "does not like recipient": "rcpt",
    "sender was rejected": "mail",
    "after i sent the message": "data",
    "my name was rejected": "ehlo",
}
# Others show the dialogue: the command that was answered by a refusal on the next line.
_REFUSED = r"[^\n]{1,120}\n[^\n\w]{0,8}(?:received\W{1,6})?[45]\d\d"
_DIALOGUE: dict[str, tuple[re.Pattern[str], Stage]] = {
    "rcpt": (re.compile(rf"rcpt\s+to:{_REFUSED}"), "rcpt"),
    "mail from": (re.compile(rf"mail\s+from:{_REFUSED}"), "mail"),
    ">>> ": (re.compile(r">>> (?:data|\.)\n(?:<<< [23][^\n]*\n(?:>>> \.\n)?)?\W{0,8}[45]\d\d"), "data"),
}


def recipient(
    *,
    final: str | None,
    action: Action,
    words: str,
    original: str | None = None,
    status: str = "",
    remote_mta: str | None = None,
    with_codes: bool = True,
    context: Sequence[str] = (),
) -> RecipientReport:
    """`words` are about this recipient; `context` is what else the mail says, for what they leave open."""
    answered: Stage | None = next((told for each in (words, *context) if (told := stage(each))), None)
    words = " ".join(words[:MAX_WORDS].split())
    smtp, enhanced = codes(words) if with_codes else (None, None)
    if with_codes and not (smtp or enhanced) and (reply := _reply(context)):
        words = f"{words} {reply}".strip()
        smtp, enhanced = codes(reply)
    code = next((code for code in (status, enhanced) if code and not code.endswith(".0.0")), status or enhanced) or None
    cause = classify(words, smtp, code, answered)
    for more in context:
        if cause.category == "other":
            other_smtp, other_enhanced = codes(more)
            cause = classify(more, smtp or other_smtp, code or other_enhanced, answered)
    return RecipientReport(final, original, action, code, smtp, words, remote_mta, cause)


def _reply(context: Sequence[str]) -> str | None:
    """The first reply of a server that begins a line or follows a label; Gmail shows it apart from the recipient."""
    found = next((reply for each in context if (reply := _REPLY.search(each))), None)
    return " ".join(found["reply"][:MAX_WORDS].split()) if found else None


def stage(words: str) -> Stage | None:
    """The SMTP command that was answered, where the words name it."""
    low = words[:MAX_WORDS].lower()
    for command in _COMMAND.finditer(low):
        if _ANSWERED.search(low[max(command.start() - MAX_BEFORE, 0) : command.start()]):
            return _STAGES.get(command[0][:4], "ehlo")
    if told := next((each for each in _TOLD if each in low), None):
        return _TOLD[told]
    shown = (told for begins, (pattern, told) in _DIALOGUE.items() if begins in low and pattern.search(low))
    return next(shown, None)
