"""Tickets as a support team has them, for pictures and for a look around: what was written to whom, days ago."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import aio_pika
from uuid_utils.compat import uuid7
from yarl import URL

from tracepost.topology import REQUESTS

DAY = 86_400
HTML = "<html><body><p>Hello,</p><p>thank you for your patience. Here is what we found.</p></body></html>"


@dataclass(frozen=True)
class Sent:
    """A message of a ticket; `to` are the simulator's behaviours with a name behind the +, at any domain."""

    reference: str
    subject: str
    to: tuple[str, ...]
    days: float = 0.0
    tags: tuple[str, ...] = ()
    track_opens: str = "full"

    def request(self, now: float) -> dict[str, Any]:
        """The request to send it, as if it had been made so many days before `now`."""
        return {
            "message_id": str(uuid7(nanoseconds=int((now - self.days * DAY) * 1e9))),
            "from": "Ada at Fernweh Outdoor <support@fernweh.test>",
            "to": list(self.to),
            "subject": self.subject,
            "html": HTML,
            "reference": self.reference,
            "tags": list(self.tags),
            "track_opens": self.track_opens,
        }


TICKETS = (
    Sent("FW-20418", "Your tent has not arrived", ("read-gmail+mira@northwind.test",), 2.1, ("delivery",)),
    Sent("FW-20418", "Re: Your tent has not arrived", ("read+mira@northwind.test",), 1.2, ("delivery",)),
    Sent(
        "FW-20418",
        "Re: Your tent has not arrived: a new one is on its way",
        ("read+mira@northwind.test", "delivered+jonas@northwind.test", "read-gmail+office@northwind.test"),
        0.0,
        ("delivery", "replacement"),
    ),
    Sent("FW-20431", "Refund for order 7731", ("read-then-returned+lena@harbour.test",), 0.01, ("refund",)),
    Sent("FW-20433", "Which size fits? Our chart", ("mailbox-full+omar@lindenhof.test",), 0.02, ("question",)),
    Sent("FW-20437", "Warranty for your stove", ("unknown-user+t.berg@pineridge.test",), 0.03, ("warranty",)),
    Sent("FW-20440", "Your appointment on Friday", ("prefetched+sofia@alpina.test",), 0.04),
    Sent("FW-20441", "We could not charge your card", ("spam+pay@quayside.test",), 0.05, ("payment",)),
    Sent("FW-20442", "A question about your route", ("deferred+guide@summit.test",), 0.06, ("question",)),
    Sent("FW-20444", "Back in stock: Larch 2", ("delivered+ines@meadow.test",), 0.07, (), "off"),
    Sent("FW-20445", "Your invoice for November", ("read+books@riverbank.test",), 0.08, ("invoice",)),
    Sent("FW-20447", "سؤالك عن الحقيبة", ("read+noura@souk.test",), 0.09, ("question",)),
)
SUBJECTS = (
    "Your order has left our warehouse",
    "Your invoice",
    "Re: Your question",
    "Your repair is done",
    "How was it?",
)
# How often what becomes of a message of ordinary days, in percent.
BEHAVIOURS = {
    "read": 34, "read-gmail": 22, "delivered": 15, "slow": 6, "deferred-twice": 4, "prefetched": 9, "scanned": 3,
    "unknown-user": 2, "returned": 1, "mailbox-full": 2, "complains": 1, "blames-us": 1,
}  # fmt: skip


def ordinary(count: int, seed: int = 7) -> Iterator[Sent]:
    """So many messages of the last six and a half days, more of them by day than by night."""
    drawn = random.Random(seed)  # noqa: S311
    for number in range(count):
        [behaviour] = drawn.choices([*BEHAVIOURS], [*BEHAVIOURS.values()])
        days = drawn.triangular(0.1, 6.5, 0.4 + drawn.randrange(6))
        yield Sent(f"FW-{19_000 + number}", drawn.choice(SUBJECTS), (f"{behaviour}+c{number}@customers.test",), days)


async def publish(amqp_url: str, sent: Iterable[Sent]) -> None:
    """Ask for all of it."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange(REQUESTS)
        now = time.time()
        for each in sent:
            body = json.dumps(each.request(now)).encode()
            message = aio_pika.Message(
                body, content_type="application/json", delivery_mode=2, user_id=URL(amqp_url).user
            )
            await exchange.publish(message, "send.normal")
