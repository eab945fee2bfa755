"""By which relays mail goes, how they are set, and how many attempts begin while they are away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender import lanes
from sender.lanes import Slots
from sender.pacing import Room
from sender.routing import named, relays
from sender.routing.hops import Hop, Login
from sender.routing.reach import Reach
from sender.routing.relays import Entry
from sender.routing.rests import KEPT_SECONDS, Rests
from sender.routing.routes import Relays, Routes, table

A, B, C = Hop("a.test", 25), Hop("b.test", 587, "must"), Hop("c.test", 465, "implicit")


def routes(relay: str, *entries: str, logins: str = "", shared: bool = False) -> Routes:
    return table(relays.read(relay.split(",")), relays.read_routes(entries), relays.read_logins(logins), shared=shared)


def hops(way: Relays | None) -> tuple[Hop, ...]:
    assert way is not None
    return way.hops


def test_a_destination_goes_its_own_way_or_by_the_relays() -> None:
    found = routes("a.test", "Slow.test=mx.slow.test:2525", "six.test=[::1]:25", "Bücher.test=mx")
    assert hops(found.to("slow.test")) == (Hop("mx.slow.test", 2525),)
    assert hops(found.to("six.test")) == (Hop("::1", 25),)
    assert found.to("xn--bcher-kva.test") is None
    assert hops(found.to("example.org")) == (A,)


def test_several_relays_are_tried_as_they_are_listed() -> None:
    found = routes("a.test, smtp+starttls://b.test, smtps://C.test", "own.test=b.test:26", "own.test=a.test")
    assert hops(found.to("example.org")) == (A, B, C)
    assert {tuple(found.default.order()) for _ in range(50)} == {(A, B, C)}  # type: ignore[union-attr]  # it is there
    assert hops(found.to("own.test")) == (Hop("b.test", 26), A)


def test_shared_relays_take_turns() -> None:
    default = routes("a.test,smtp+starttls://b.test,smtps://c.test", shared=True).default
    assert default is not None
    assert {tuple(default.order()) for _ in range(200)} == {(A, B, C), (B, C, A), (C, A, B)}


@pytest.mark.parametrize(
    "given", ["a.test:2525", "[::1]:25", "smtp+starttls://a.test:26", "smtps://192.0.2.1:465", "mx"]
)
def test_a_relay_is_printed_as_it_can_be_written(given: str) -> None:
    (read,) = relays.read([given])
    assert relays.read([str(read)]) == (read,)
    entry = Entry("example.org", read)
    assert relays.read_routes([str(entry)]) == (entry,)


@pytest.mark.parametrize(
    "relay",
    ["", "a b", "a.test:0", "a.test:99999", "a.test:x", "http://a.test", "smtps://", "::1", "a.test/x", "u@a.test"],
)
def test_what_is_no_relay_is_named(relay: str) -> None:
    with pytest.raises(ValueError, match="write it as"):
        relays.read([relay])
    with pytest.raises(ValueError, match=r"write it as example\.org="):
        relays.read_routes([f"a.test={relay}"])


@pytest.mark.parametrize("entry", ["a.test", "=a.test", "a b=a.test", "*=a.test"])
def test_what_is_no_route_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="write it as"):
        relays.read_routes([entry])


def test_relays_and_mx_are_one_or_the_other() -> None:
    with pytest.raises(ValueError, match="RELAYS: mail goes either"):
        routes("a.test,mx")
    with pytest.raises(ValueError, match="ROUTES: mail goes either"):
        routes("mx", "a.test=mx", "a.test=b.test")


def test_a_login_goes_with_its_relay() -> None:
    logins = "b.test ann:p:w d \n\n C.test  bob@example.org:secret\n"
    found = hops(routes("a.test,smtp+starttls://b.test,smtps://c.test", logins=logins).default)
    assert [hop.login for hop in found] == [None, Login("ann", "p:w d"), Login("bob@example.org", "secret")]
    assert "secret" not in repr(found)


def test_a_password_needs_tls() -> None:
    with pytest.raises(ValueError, match=r"RELAYS: a password for a\.test:25 would go without TLS; write the relay as"):
        routes("a.test", logins="a.test ann:pw")


def test_a_login_for_nobody_is_named() -> None:
    with pytest.raises(ValueError, match=r"RELAY_LOGINS: x\.test is no relay"):
        routes("a.test", logins="x.test ann:pw")


@pytest.mark.parametrize("login", ["b.test", "b.test ann", "b.test ann:", "b.test :pw", "b.test ann secret"])
def test_a_login_that_is_none_is_not_repeated(login: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no login") as raised:
        relays.read_logins(f"a.test ann:pw\n{login}")
    assert "secret" not in str(raised.value)


def test_name_servers_have_addresses() -> None:
    given = ["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]", "[2001:db8::53]:54"]
    read = named.read_name_servers(given)
    assert read == (("192.0.2.53", 53), ("192.0.2.53", 5353), *[("2001:db8::53", 53)] * 2, ("2001:db8::53", 54))
    assert named.read_name_servers(map(str, read)) == read
    for wrong in ("", "dns.test", "192.0.2.53:0", "192.0.2.300", "[::1]:99999", "1:2", "192.0.2.53:x"):
        with pytest.raises(ValueError, match="is no name server"):
            named.read_name_servers([wrong])


def test_domains_are_read_in_ascii() -> None:
    assert named.read_domains(["*", "Bücher.example", "a.test"]) == ("*", "xn--bcher-kva.example", "a.test")
    with pytest.raises(ValueError, match="is no domain"):
        named.read_domains(["a b"])


def test_we_are_named_by_hosts_and_networks() -> None:
    us = named.read_us(["192.0.2.0/24", "::1", "Mail.Example.org"], "Out.example.org")
    assert us.names == {"mail.example.org", "out.example.org"}
    assert us.is_at(["198.51.100.1", "192.0.2.7"])
    assert us.is_at(["::1"])
    assert not us.is_at(["192.0.3.1", "::2"])
    with pytest.raises(ValueError, match="is no domain"):
        named.read_us(["not a host"], "out.example.org")


# while they are away

NONE = Rests()


def test_who_is_away_rests_and_is_tried_by_one_first() -> None:
    rests = Rests(first=1, longest=8)
    rests.away(A, 100)
    assert rests.room([A], 100.5) == 0
    assert rests.room([A], 101) == 1
    assert rests.order([A], 101) == [A]
    assert rests.room([A], 101.5) == 0  # somebody tries
    assert rests.room([A], 102) == 1  # and has no answer yet
    rests.well(A)
    assert rests.room([A], 102) is None
    assert not rests


def test_a_rest_grows_with_every_try_that_fails_and_not_with_those_under_way() -> None:
    rests, now, lengths = Rests(first=1, longest=8), 100.0, []
    for _ in range(6):
        for late in (0.0, 0.1, 0.2):  # who had begun before
            rests.away(A, now + late)
        begins = now
        while rests.room([A], now) == 0:
            now += 0.5
        lengths.append(now - begins)
        rests.order([A], now)
    assert lengths == [1, 2, 4, 8, 8, 8]


def test_a_server_that_nobody_asks_for_is_forgotten() -> None:
    rests = Rests()
    rests.away(A, 100)
    rests.away(B, 100 + KEPT_SECONDS)
    assert len(rests) == 2
    rests.away(C, 102 + KEPT_SECONDS)
    assert rests.room([A], 103 + KEPT_SECONDS) is None
    assert len(rests) == 2


def test_the_next_relay_serves_while_the_first_rests() -> None:
    rests = Rests(first=1)
    rests.away(A, 100)
    assert rests.order([A, B, C], 100.5) == [B, C, A]
    assert rests.room([A, B], 100.5) is None
    rests.away(C, 100.5)
    assert rests.order([A, B, C], 100.6) == [B, A, C]
    assert rests.order([A, B, C], 101.2) == [A, B, C]  # one tries it again
    assert rests.order([A, B, C], 101.2) == [B, A, C]


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.booleans(), st.floats(0, 5)), max_size=30))
def test_nobody_is_lost_or_repeated_in_an_order(story: list[tuple[Hop, bool, float]]) -> None:
    rests, now = Rests(), 0.0
    for hop, is_away, passed in story:
        now += passed
        (rests.away(hop, now) if is_away else rests.well(hop))
        order = rests.order([A, B, C], now)
        assert sorted(order, key=str) == sorted([A, B, C], key=str)
        assert rests.room([A, B, C], now) in {None, 0, 1}


def test_destinations_wait_for_their_own_relays_alone() -> None:
    rests = Rests(first=1)
    reach = Reach(routes("a.test", "own.test=smtp+starttls://b.test", "direct.test=mx"), rests)
    room = Room(["full.test"], {"some.test": 3, "own.test": 2}, 20)
    assert reach.room(room, 100) is room
    rests.away(A, 100)
    assert reach.room(room, 100.5) == Room(["full.test"], {"some.test": 0, "own.test": 2, "direct.test": 20}, 0)
    assert [reach.free(each, 5, 100.5) for each in ("some.test", "own.test", "direct.test")] == [0, 5, 5]
    rests.away(B, 100)
    assert reach.free("own.test", 5, 100.5) == 0
    assert reach.free("direct.test", 5, 100.5) == 5


def test_one_attempt_finds_out_for_all() -> None:
    rests = Rests(first=1)
    reach = Reach(routes("a.test"), rests)
    assert reach.slots(Slots(7, 3), 100) == Slots(7, 3)
    rests.away(A, 100)
    assert reach.slots(Slots(7, 3), 100.5) == Slots(7, 3)  # there is no room for anyone
    assert reach.slots(Slots(7, 3), 101) == Slots(1, 1)
    assert reach.slots(Slots(0, 0), 101) == Slots(0, 0)
    assert reach.room(Room([], {}, 20), 101).others == 1
    reach.begin("some.test", 101)
    assert reach.room(Room([], {}, 20), 101).others == 0


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 600))
def test_bulk_never_has_what_the_normal_lane_needs(concurrency: int, normal: int, bulk: int) -> None:
    free = lanes.free(concurrency, normal, bulk)
    assert 0 <= free.bulk <= free.normal <= concurrency
    assert normal + bulk + free.normal <= max(concurrency, normal + bulk)
    if free.bulk:
        assert bulk + free.bulk <= concurrency * lanes.BULK_SHARE + 1


def test_even_a_single_slot_serves_both_lanes() -> None:
    assert lanes.free(1, 0, 0) == (1, 1)
