"""Where a request comes from: whose word is taken for it, whose network it is, and what of it may leave the pixel."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixel.places import Atlas, Place, Ranges, client, read_ranges
from tests.unit.samples import modest

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8")))


def place(ip: str) -> Place:
    return Atlas((), Ranges(), Ranges()).place(ip, {})


# whose address


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1,10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, ", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "2001:db8::1", "2001:db8::1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_address_is_what_the_nearest_trusted_proxies_say(peer: str, forwarded: str, expected: str) -> None:
    assert client(peer, forwarded, PROXIES) == expected


def test_nobody_is_trusted_unless_said_so() -> None:
    headers = {"x-forwarded-for": "198.51.100.1"}
    assert Atlas((), Ranges(), Ranges()).place("10.0.0.1", headers).network == "10.0.0.0/24"
    assert Atlas(PROXIES, Ranges(), Ranges()).place("10.0.0.1", headers).network == "198.51.100.0/24"
    assert Atlas(PROXIES, Ranges(), Ranges()).place("10.0.0.1", {}).network == "10.0.0.0/24"


# whose networks


networks = st.ip_addresses().flatmap(
    lambda ip: (
        st.integers(0, ip.max_prefixlen).map(lambda bits: ip_network((int(ip), bits), strict=False))
        if ip.version == 6
        else st.integers(0, 32).map(lambda bits: ip_network(f"{ip}/{bits}", strict=False))
    )
)


@modest
@given(st.lists(networks, max_size=8), st.data())
def test_ranges_hold_what_some_network_holds(some: list[object], data: st.DataObject) -> None:
    edges = [int(each[at]) + step for each in some for at in (0, -1) for step in (-1, 0, 1)]  # type: ignore[index]
    near = st.sampled_from(edges) if edges else st.nothing()
    address = data.draw(st.ip_addresses() | near.filter(lambda edge: 0 <= edge < 2**128).map(ip_address))
    assert (address in Ranges(some)) == any(address in each for each in some)  # type: ignore[arg-type,operator]


def test_apples_list_is_read_as_it_is_published() -> None:
    ranges = read_ranges(["172.224.224.0/27,GB,GB-EN,London,\n", "\n", "# old\n", "2a02:26f7:b000:4000::/64,DE,,,\n"])
    assert ip_address("172.224.224.31") in ranges
    assert ip_address("172.224.224.32") not in ranges
    assert ip_address("2a02:26f7:b000:4000::1") in ranges


@pytest.mark.parametrize("line", ["172.224.224.0/33,GB", "mask.icloud.com", "172.224.224.1/27"])
def test_a_line_that_is_no_network_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 2: .*write a network"):
        read_ranges(["192.0.2.0/24", line])


def test_a_place_says_whether_it_is_ours_or_the_relays() -> None:
    atlas = Atlas((), Ranges([ip_network("192.0.2.0/24")]), Ranges([ip_network("172.224.0.0/16")]))
    assert atlas.place("192.0.2.1", {}) == ("192.0.2.0/24", True, False)
    assert atlas.place("172.224.1.1", {}) == ("172.224.1.0/24", False, True)
    assert atlas.place("nonsense", {}) == (None, False, False)


# what may leave


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("192.0.2.0", "192.0.2.0/24"),
        ("255.255.255.255", "255.255.255.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ("2001:DB8::1", "2001:db8::/48"),
        ("::1", "::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", None),
        ("192.0.2", None),
        ("192.0.2.1:443", None),
        ("[2001:db8::1]", None),
        ("unknown", None),
        ("192.0.2.1\n", None),
    ],
)
def test_an_address_is_cut_to_its_network(ip: str, network: str | None) -> None:
    assert place(ip).network == network


def test_an_ipv4_address_on_an_ipv6_socket_is_one_of_ipv4() -> None:
    assert place("::ffff:192.0.2.77").network == "192.0.2.0/24"


@modest
@given(st.ip_addresses().map(str))
def test_the_network_holds_the_address_and_hides_its_end(ip: str) -> None:
    network = ip_network(place(ip).network or "")
    address = ip_address(ip)
    assert (getattr(address, "ipv4_mapped", None) or address) in network
    assert network.prefixlen == (24 if network.version == 4 else 48)
