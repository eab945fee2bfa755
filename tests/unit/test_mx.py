"""A domain's mail servers: from what DNS says to the order in which they are tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.outcome import Unroutable
from sender.routing import mx, security
from sender.routing.hops import Hop
from sender.routing.mx import Exchange, Nothing, Server, Trouble
from sender.routing.named import read_us
from tracepost.addresses import parse

US = read_us(["192.0.2.0/24", "2001:db8::/32"], "out.us.test")
DOMAIN = "example.org"


def preferred(*answer: tuple[int, str]) -> list[str] | Unroutable:
    """The hosts of an answer to a question for MX, best first."""
    found = mx.exchanges(DOMAIN, [Exchange(*each) for each in answer], US)
    return found if isinstance(found, Unroutable) else [each.host for each in found]


def why(found: object) -> tuple[str, str, str, bool]:
    assert isinstance(found, Unroutable)
    assert DOMAIN in found.reason
    return found.cause.bounce_class, found.cause.category, found.cause.rule, found.lasting


def test_the_lowest_preference_comes_first() -> None:
    assert preferred((20, "b.test"), (10, "a.test"), (30, "c.test")) == ["a.test", "b.test", "c.test"]


def test_without_mx_the_domain_itself_is_asked() -> None:
    assert mx.exchanges(DOMAIN, Nothing(exists=True), US) == [Exchange(0, DOMAIN)]


def test_what_does_not_exist_or_takes_no_mail_is_a_dead_address() -> None:
    assert why(mx.exchanges(DOMAIN, Nothing(exists=False), US)) == ("hard", "bad_domain", "no-such-domain", True)
    assert why(preferred((0, ""))) == ("hard", "null_mx", "null-mx", True)
    assert preferred((0, ""), (10, "a.test")) == ["a.test"]


def test_trouble_with_dns_says_nothing_for_good() -> None:
    found = mx.exchanges(DOMAIN, Trouble("SERVFAIL"), US)
    assert why(found) == ("soft", "dns_temporary", "dns-trouble", False)
    assert "SERVFAIL" in found.reason  # type: ignore[union-attr]  # it is that


def test_what_would_come_back_to_us_is_passed_over() -> None:
    assert preferred((10, "a.test"), (20, "out.us.test"), (20, "b.test"), (30, "c.test")) == ["a.test"]
    assert why(preferred((10, "out.us.test"), (20, "a.test"))) == ("soft", "system", "mx-is-us", True)


def servers(found: dict[str, Sequence[str] | Nothing | Trouble], *preferences: int) -> object:
    named = [Exchange(preference, host) for preference, host in zip(preferences, found, strict=True)]
    return mx.servers(DOMAIN, named, found, US)


def test_an_exchange_at_our_address_is_passed_over_too() -> None:
    ours: list[Sequence[str]] = [["192.0.2.1"], ["2001:db8::1"], ["198.51.100.9", "192.0.2.200"]]
    for address in ours:
        found = servers({"a.test": ["198.51.100.1"], "b.test": address, "c.test": ["198.51.100.3"]}, 10, 20, 30)
        assert found == [Server(10, "a.test", ["198.51.100.1"])]
        assert why(servers({"b.test": address, "c.test": ["198.51.100.3"]}, 10, 10))[2] == "mx-is-us"


def test_one_exchange_with_an_address_will_do() -> None:
    found = servers({"a.test": Nothing(exists=False), "b.test": Trouble("-"), "c.test": ["198.51.100.3"]}, 10, 20, 30)
    assert found == [Server(30, "c.test", ["198.51.100.3"])]


def test_no_address_at_all_is_for_good_only_where_dns_said_so_of_all() -> None:
    nothing = Nothing(exists=True)
    assert why(servers({"a.test": nothing, "b.test": nothing}, 1, 2)) == (
        "hard",
        "bad_domain",
        "mx-without-address",
        True,
    )
    assert why(servers({"a.test": nothing, "b.test": Trouble("-")}, 1, 2))[1:] == (
        "dns_temporary",
        "dns-trouble",
        False,
    )
    assert why(servers({DOMAIN: nothing}, 0)) == ("hard", "bad_domain", "no-mail-server", True)


def test_ipv6_and_ipv4_take_turns() -> None:
    assert mx.mixed(["::1", "::2", "::3"], ["1.1.1.1"]) == ["::1", "1.1.1.1", "::2", "::3"]
    assert mx.mixed([], ["1.1.1.1"]) == ["1.1.1.1"]


def test_each_of_the_best_is_first_as_often() -> None:
    found = [Server(10, "a", ["::1"]), Server(10, "b", ["::2"]), Server(20, "c", ["::3"]), Server(20, "d", ["::4"])]
    firsts, thirds = Counter[str](), Counter[str]()
    for seed in range(200):
        for order in mx.orders(found, Random(seed)):
            firsts[order[0].host] += 1
            thirds[order[2].host] += 1
    assert firsts == {"a": 200, "b": 200}
    assert set(thirds) == {"c", "d"}


exchanges = st.lists(st.builds(Exchange, st.integers(0, 3), st.sampled_from(["a", "b", "c", "d", "out.us.test", ""])))


@given(exchanges, st.integers(0))
def test_order_follows_preference_and_never_passes_by_us(answer: list[Exchange], seed: int) -> None:
    named = mx.exchanges(DOMAIN, answer, US)
    if isinstance(named, Unroutable):
        assert named.lasting
        return
    ours = [each.preference for each in answer if each.host == "out.us.test"]
    assert all(each.preference < min(ours, default=9) and each.host for each in named)
    assert {each for each in answer if each.host and each.preference < min(ours, default=9)} == set(named)
    found = mx.servers(DOMAIN, named, {each.host: ["198.51.100.1"] for each in named}, US)
    assert not isinstance(found, Unroutable)
    for order in mx.orders(found, Random(seed)):
        assert [each.preference for each in order] == sorted(each.preference for each in named)
        assert sorted(order) == sorted(found)


def test_an_attempt_tries_so_many_addresses_and_no_host_takes_all_of_them() -> None:
    many = [f"198.51.100.{number}" for number in range(9)]
    tried = security.hops([Server(10, "a", many), Server(20, "b", many), Server(30, "c", many)], 25, verified=False)
    assert [hop.host for hop in tried] == ["a", "a", "a", "b", "b", "b"]
    assert security.hops([Server(10, "a", ["::1"])], 26, verified=True) == (Hop("a", 26, "must", "::1"),)


@pytest.mark.parametrize("address", ["ann@[192.0.2.1]", "ann@[IPv6:2001:db8::1]"])
def test_an_address_literal_is_no_address_to_write_to(address: str) -> None:
    with pytest.raises(ValueError, match="bracket"):
        parse(address)
