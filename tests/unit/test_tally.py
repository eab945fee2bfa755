"""The tally of a refold."""

from __future__ import annotations

from status_store.tally import Found, Tally, from_json, table, to_json


def test_kinds_are_counted_over_batches_with_their_first_examples() -> None:
    tally = Tally()
    for number in range(7):
        found = [Found("deliveries", f"a/{number}", "read", "delivered"), Found("messages", "a", "read", "read")]
        tally = tally.plus(3, 2, 4, found)
    tally = tally.plus(1, 1, 1, [Found("deliveries", "b/0", None, "queued")])
    assert (tally.looked_at, tally.messages, tally.deliveries) == (22, 15, 29)
    read = tally.changes["deliveries"]["read → delivered"]
    assert (read.count, read.examples) == (7, ("a/0", "a/1", "a/2", "a/3", "a/4"))
    assert from_json(to_json(tally)) == tally
    assert (
        table(tally)
        == """\
looked at 22 messages; folded again 29 deliveries of 15 messages
deliveries:
         7  read → delivered  a/0
                              a/1
                              a/2
                              a/3
                              a/4
         1  missing → queued  b/0
messages:
         7  only the roll-up or the description  a
                                                 a
                                                 a
                                                 a
                                                 a"""
    )


def test_a_batch_leaves_the_tally_before_it_alone() -> None:
    before = Tally()
    before.plus(1, 1, 1, [Found("messages", "a", "read", "failed")])
    assert before == Tally()
    assert table(before).endswith("deliveries: no changes\nmessages: no changes")
