"""Our pixels are taken out of HTML, wherever mail programs have put them, and nothing else is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.compose import Links, compose
from sender.parts import image
from tests.unit.mails import content, read
from tests.unit.samples import KEYRING, MESSAGE, NOON, modest, request
from tracepost import tokens
from tracepost.client import strip_pixels

URL = f"https://pixel.example/o/{tokens.to_url(KEYRING.pixel(MESSAGE, 1))}.gif"
OURS = image(URL).decode()


@pytest.mark.parametrize(
    "pixel",
    [
        OURS,
        OURS.upper().replace(URL.upper(), URL),
        f"<img src={URL}>",
        f"<img\n alt=''\n src='{URL}' class=\"gmail_quote\"/>",
        f'<img src="https://ci3.googleusercontent.com/meips/ADKq_Nb=s0-d-e1-ft#{URL}" width="1" height="1">',
        f'<img data-imagetype="External" src="{URL}?x=1" style="border:0">',
    ],
)
def test_a_pixel_is_taken_out(pixel: str) -> None:
    assert strip_pixels(f"<p>a{pixel}b</p>{pixel}") == "<p>ab</p>"


@pytest.mark.parametrize(
    "html",
    [
        "",
        '<img src="https://shop.example/o/logo.gif">',
        f'<a href="{URL}">look</a>',
        f'<image src="{URL}">',
        f"<img src='{URL}s'>",
        f"<img src='{URL.replace('/o/', '/p/')}'>",
        f"&lt;img src={URL}&gt;",
        f"<img src='{URL}'",
        f"<img <b> src='{URL}'",
    ],
)
def test_nothing_else_is(html: str) -> None:
    assert strip_pixels(html) == html


pieces = st.sampled_from([OURS, "<img>", "<img", ">", "<p>", URL, "/o/", "\n", "ä"]) | st.text(max_size=5)


@modest
@given(st.lists(pieces, max_size=12).map("".join))
def test_what_was_stripped_has_nothing_left_to_strip_and_is_no_longer(html: str) -> None:
    stripped = strip_pixels(html)
    assert len(stripped) <= len(html)
    assert html.count(OURS) == 0 or OURS not in stripped


def test_html_that_was_made_to_take_long_does_not() -> None:
    began = time.process_time()
    for part in ("<img ", "<img /o/", f"<img {URL}", f"{URL} ", "<img" + "/o/" * 1000):
        strip_pixels(part * (1_000_000 // len(part)))
    assert time.process_time() - began < 5


def test_a_quoted_pixel_does_not_go_out_again() -> None:
    own = f"https://pixel.example/o/{tokens.to_url(KEYRING.pixel(MESSAGE, 2))}.gif"
    made = request(html=f"<p>Well?</p><blockquote>old{OURS}</blockquote>")
    html = content(read(compose(made, Links("<1@x>", "b+x", own), NOON)), "html") or ""
    assert html.replace("\r\n", "") == f"<p>Well?</p><blockquote>old</blockquote>{image(own).decode()}"
