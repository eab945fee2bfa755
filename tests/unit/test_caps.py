"""How much of everything is let in."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from bounce_ingest.smtp.caps import Caps, Most
from tests.unit.samples import modest

OWN = [ip_network("10.0.0.0/8"), ip_network("::1/128")]
PEERS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1", "10.1.1.1", "::1", ""]
SITES = dict(zip(PEERS, ["a", "b", "c", "c", "a", "", "", ""], strict=True))


@modest
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(PEERS)), max_size=40))
def test_no_more_connections_than_that_overall_and_of_one_site(steps: list[tuple[bool, str]]) -> None:
    caps, inside = Caps(Most(6, 2, 10, 10), OWN), list[str]()
    for comes, peer in steps:
        if comes:
            inside.append(peer)
            others = [each for each in inside if SITES[each] == SITES[peer]]
            expected = "421 4.3.2" if len(inside) > 6 else "421 4.7.0" if SITES[peer] and len(others) > 2 else ""
            assert (caps.enter(peer) or "")[:9] == expected
        elif peer in inside:
            inside.remove(peer)
            caps.leave(peer)
    for peer in inside:
        caps.leave(peer)
    assert not caps._connections


def test_mails_a_minute_of_one_site() -> None:
    caps = Caps(Most(10, 10, 2, 10), OWN)
    assert [caps.mail(peer, 0) is None for peer in ("2001:db8::1", "2001:db8::2", "2001:db8::3")] == [True, True, False]
    assert all(caps.mail("10.1.1.1", 0) is None for _ in range(5))
    assert caps.mail("2001:db8::1", 61) is None


def test_room_is_given_back_whatever_happens() -> None:
    caps = Caps(Most(10, 10, 2, 100), OWN)
    try:
        with caps.taking() as grown:
            grown(60)
            assert caps.has_room()
            grown(60)
            assert not caps.has_room()
            raise ConnectionResetError
    except ConnectionResetError:
        assert caps.has_room()
