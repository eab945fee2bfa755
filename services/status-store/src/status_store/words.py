"""Causes in the words of a person who answers customers; pure."""

from __future__ import annotations

CAUSES: dict[str, str] = {
    # Refusals, by the categories of the classifier.
    "invalid_recipient": "The address does not exist.",
    "bad_domain": "The domain after the @ does not exist.",
    "moved": "The recipient has moved to another address.",
    "null_mx": "The domain takes no mail.",
    "spam_content": "The message was taken for spam.",
    "spam_block": "The recipient has blocked the sender.",
    "virus": "The message was taken for a virus.",
    "attachment": "An attachment was refused.",
    "content": "The content was refused.",
    "mailbox_full": "The mailbox is full.",
    "mailbox_disabled": "The mailbox is disabled.",
    "too_large": "The message is too large for the recipient's server.",
    "quota": "The recipient has received too much mail for now.",
    "ip_reputation": "The recipient's server distrusts our mail server.",
    "listed": "Our mail server is on a block list.",
    "no_ptr": "The recipient's server could not verify the name of our mail server.",
    "auth": "The recipient's server could not verify the sender.",
    "policy": "A policy of the recipient's server forbids it.",
    "sender_refused": "The sender's address was refused.",
    "relay_denied": "The server does not take mail for this recipient.",
    "tls_required": "The recipient's server asks for an encrypted connection.",
    "protocol": "The two mail servers did not understand each other.",
    "system": "The recipient's server has a fault.",
    "greylisted": "The recipient's server asks us to try again later.",
    "rate": "The recipient's server asks us to send more slowly.",
    "network": "The recipient's server cannot be reached.",
    "dns_temporary": "The recipient's domain cannot be looked up for now.",
    "expired": "It could not be delivered in time.",
    "overloaded": "The recipient's server is overloaded.",
    "other": "The recipient's server gave no reason that could be understood.",
    # Not tried, by the reasons of the suppression list.
    "suppressed_hard_bounce": "Not sent: earlier mail to this address came back.",
    "suppressed_soft_bounces": "Not sent: the mailbox was full or disabled several times.",
    "suppressed_spam_complaint": "Not sent: the recipient has reported earlier mail as spam.",
    "suppressed_unsubscribed": "Not sent: the recipient has unsubscribed.",
    "suppressed_manual": "Not sent: somebody has blocked this address.",
    # Complaints, by the types of feedback.
    "complaint_abuse": "The recipient has reported the message as spam.",
    "complaint_fraud": "The recipient has reported the message as fraud.",
    "complaint_virus": "The recipient's provider has reported a virus in the message.",
    "complaint_other": "The recipient has complained about the message.",
    "cancelled": "Sending was called off.",
}


def cause_text(code: str | None) -> str | None:
    """The cause as a sentence; of a category that is unknown here, which a later classifier may give, the plain one."""
    return CAUSES.get(code, CAUSES["other"]) if code else None
