"""Who loaded a pixel, by real user agents; and what of an address may leave the pixel."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from pixel.verdict import RULES, counts, judge, truncated
from tests.unit.samples import modest
from tracepost.events import Verdict

WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"

AGENTS: list[tuple[str, Verdict, str | None]] = [
    # proxies that carry real opens
    ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "proxied", "Gmail"),
    ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "proxied", "Yahoo Mail"),
    # Apple Mail Privacy Protection
    ("Mozilla/5.0", "prefetched", "Apple Mail privacy"),
    # mail clients
    ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0", "person", "Thunderbird"),
    ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Trident/7.0; Microsoft Outlook 16.0)", "person", "Outlook"),
    ("Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)", "person", "Outlook"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT}", "person", "Apple Mail"),
    # browsers
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36", "person", "a browser"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/131.0.0.0", "person", "a browser"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", "person", "a browser"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Version/18.1 Safari/605.1.15", "person", "a browser"),
    (
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {WEBKIT} Version/18.1 Mobile/15E148 Safari/604.1",
        "person",
        "a browser",
    ),
    (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36", "person", "a browser"),
    # machines
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot", None),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "bot", None),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "bot", None),
    (f"Mozilla/5.0 (X11; Linux x86_64) {CHROME.replace('Chrome', 'HeadlessChrome')} Safari/537.36", "bot", None),
    ("Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", "bot", None),
    ("curl/8.5.0", "bot", None),
    ("Wget/1.21.4", "bot", None),
    ("python-requests/2.32.3", "bot", None),
    ("Java/17.0.2", "bot", None),
    ("Go-http-client/2.0", "bot", None),
    ("Mozilla/5.0 (compatible; proofpoint-url-defense)", "bot", None),
    ("BarracudaCentral/1.0 Chrome/100.0", "bot", None),
    # nobody knows
    ("", "unknown", None),
    ("Mozilla/5.0 ", "unknown", None),
    ("AGENT", "unknown", None),
]


@pytest.mark.parametrize(("agent", "verdict", "client"), AGENTS)
def test_a_real_user_agent_is_judged(agent: str, verdict: Verdict, client: str | None) -> None:
    found, rule, named = judge(agent)
    assert (found, named) == (verdict, client)
    assert rule in {*(each.name for each in RULES), "no-rule", "no-user-agent"}


@pytest.mark.parametrize(
    ("agent", "client"),
    [
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 14_0 like Mac OS X) {WEBKIT} Mobile/15E148", "Apple Mail"),
        (f"Mozilla/5.0 (iPad; CPU OS 14_0 like Mac OS X) {WEBKIT} Mobile/15E148", "Apple Mail"),
        ("Outlook-iOS/709.2189947.prod.iphone (3.24.1)", "Outlook"),
    ],
)
def test_a_mail_client_on_a_telephone_is_a_person(agent: str, client: str) -> None:
    verdict, _, named = judge(agent)
    assert (verdict, named) == ("person", client)


def test_a_telephone_of_cubot_is_no_crawler() -> None:
    assert judge(f"Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) {CHROME} Mobile Safari/537.36")[0] == "person"


def test_proxies_that_carry_opens_come_before_everything_that_calls_them_bots() -> None:
    last_proxy = max(place for place, rule in enumerate(RULES) if rule.verdict == "proxied")
    first_bot = min(place for place, rule in enumerate(RULES) if rule.verdict == "bot")
    assert last_proxy < first_bot
    assert judge("Mozilla/5.0 (compatible; crawler bot) GoogleImageProxy")[0] == "proxied"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_decides_for_some_agent(rule: object) -> None:
    assert rule.name in {judge(agent)[1] for agent, _, _ in AGENTS}  # type: ignore[attr-defined]


def test_no_agent_and_an_unknown_agent_have_rules_of_their_own() -> None:
    assert (judge("")[1], judge("AGENT")[1]) == ("no-user-agent", "no-rule")


@modest
@given(st.text(max_size=300))
@example("(" * 300)
@example("Mozilla/5.0" * 20)
def test_any_agent_is_judged(agent: str) -> None:
    verdict, rule, _ = judge(agent)
    assert verdict in get_args(Verdict)
    assert rule


# what can be an open at all


def test_a_plain_get_counts() -> None:
    assert counts("GET", {})
    assert counts("GET", {"User-Agent": "prefetch", "Accept": "image/*", "Sec-Fetch-Dest": "image", "X-Moz": ""})


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST"])
def test_another_method_does_not_count(method: str) -> None:
    assert not counts(method, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Purpose", "prefetch;anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("X-Moz", "prefetch"),
        ("X-Purpose", "Prefetch"),
        ("sec-purpose", "PREFETCH"),
    ],
)
def test_a_browser_that_looks_ahead_does_not_count(name: str, value: str) -> None:
    assert not counts("GET", CIMultiDict({name: value}))


@pytest.mark.parametrize("name", ["Purpose", "X-Purpose"])
def test_a_preview_does_not_count(name: str) -> None:
    assert not counts("GET", CIMultiDict({name: "preview"}))


# addresses


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
    assert truncated(ip) == network


def test_an_ipv4_address_on_an_ipv6_socket_is_one_of_ipv4() -> None:
    assert truncated("::ffff:192.0.2.77") == "192.0.2.0/24"


@modest
@given(st.ip_addresses().map(str))
def test_the_network_holds_the_address_and_hides_its_end(ip: str) -> None:
    network = ip_network(truncated(ip) or "")
    address = ip_address(ip)
    assert (getattr(address, "ipv4_mapped", None) or address) in network
    assert network.prefixlen == (24 if network.version == 4 else 48)
