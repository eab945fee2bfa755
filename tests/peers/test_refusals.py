"""What a real server refuses, at once or in a mail that it returns, ends as the right status with its own words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from tests.mail_servers import net
from tests.mail_servers.hosts import REFUSALS
from tests.mail_servers.machine import MOST_BYTES
from tests.peers.site import HOME_ADDRESS, SENDER, Site
from tests.returned_mail.cases import CASES, HARD
from tests.unit.samples import body

pytestmark = [pytest.mark.peers, pytest.mark.asyncio(loop_scope="session")]

RETURNED = {case.name: case for case in CASES if len(case.recipients) == 1 and not case.notify}
UNKNOWN = {
    "postfix": "<missing@home.example>: Recipient address rejected: User unknown in virtual mailbox table",
    "exim": "Unrouteable address",
    "opensmtpd": "Invalid recipient: <missing@home.example>",
}


async def test_an_unknown_user_is_refused_with_the_servers_words(site: Site) -> None:
    answer = await site.send(body(sender=SENDER, to=[f"missing@{net.HOME_DOMAIN}"]))
    told = await site.told(answer["message_id"], "bounced", "smtp")
    assert (told["bounce_class"], told["category"], told["smtp_code"]) == ("hard", "invalid_recipient", 550)
    assert UNKNOWN[site.name] in told["diagnostic"]
    await site.reaches(answer["message_id"], "hard_bounce")


async def test_a_mail_over_the_servers_size_is_refused(site: Site) -> None:
    answer = await site.send(body(sender=SENDER, to=[HOME_ADDRESS], text="A line of the mail.\n" * 3000))
    told = await site.told(answer["message_id"], "bounced", "smtp")
    assert (told["bounce_class"], told["category"], told["smtp_code"]) == ("soft", "too_large", 552)
    assert f"the server takes at most {MOST_BYTES}" in told["diagnostic"]
    await site.reaches(answer["message_id"], "failed")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sent(site: Site) -> AsyncIterator[Mapping[str, str]]:
    """By case the id of its message: all are under way at once, for some return only when they have expired."""
    ids = {}
    for name, case in RETURNED.items():
        if site.name in case.failed:
            request = body(
                sender=SENDER,
                to=list(case.recipients),
                text="Here is the answer to your question.\n" * (case.size // 30 or 1),
                override_suppression="one server after the other is asked",
            )
            ids[name] = (await site.send(request))["message_id"]
    yield ids


@pytest.mark.parametrize("name", RETURNED)
async def test_what_is_taken_and_then_returned(site: Site, sent: Mapping[str, str], name: str) -> None:
    case = RETURNED[name]
    if name not in sent:
        pytest.skip(f"{site.name} does not return this")
    [truth] = case.failed[site.name]
    await site.told(sent[name], "delivered", "smtp")  # it was taken
    if site.name in case.delayed:
        await site.told(sent[name], "deferred", "dsn")
    told = await site.told(sent[name], "bounced", "dsn")
    assert told["category"] in truth.categories
    assert truth.smtp in (None, told.get("smtp_code"))
    assert truth.enhanced in (None, told.get("enhanced_code"))
    if refusal := REFUSALS.get(truth.recipient.partition("@")[0]) if truth.smtp else None:
        assert refusal.reply.split(" ", 2)[2] in told["diagnostic"]
    forwarded = truth.recipient != case.recipients[0]
    assert told.get("forwarded_to") == (truth.recipient if forwarded else None)
    await site.reaches(sent[name], _status(told["category"], forwarded=forwarded))


def _status(category: str, *, forwarded: bool) -> str:
    if forwarded:
        return "failed"  # our recipient's own address is good
    if category in HARD:
        return "hard_bounce"
    return "spam" if category == "spam_content" else "failed"
