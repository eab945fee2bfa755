"""The pixel stands where it should, once, and a copy's links name its delivery."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.compose import compose
from sender.copies import links, rfc_message_id
from tests.unit.mails import IMAGE, TRACKED, UNTRACKED, accepted, bodies, canonical, content, read
from tests.unit.samples import KEYRING, MESSAGE, NOON, modest, request
from tracepost import tokens
from tracepost.events import Tracking


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", IMAGE),
        ("<p>a", f"<p>a{IMAGE}"),
        ("<body>a</body></html>", f"<body>a{IMAGE}</body></html>"),
        ("a</BODY\n>b", f"a{IMAGE}</BODY\n>b"),
        ("<!-- </body> -->a</body>", f"<!-- </body> -->a{IMAGE}</body>"),
        ("a</body>quoted</body> ", f"a</body>quoted{IMAGE}</body> "),
        ("a</bodyguard>", f"a</bodyguard>{IMAGE}"),
        ("\\1\\g<0></body>", f"\\1\\g<0>{IMAGE}</body>"),
    ],
)
def test_the_pixel_stands_before_the_last_body_end_or_at_the_end(html: str, expected: str) -> None:
    assert content(read(compose(request(html=html), TRACKED, NOON)), "html") == canonical(expected)


@modest
@given(bodies)
def test_the_pixel_is_all_that_is_added(html: str) -> None:
    tracked = content(read(compose(accepted(html=html), TRACKED, NOON)), "html")
    assert tracked is not None
    assert tracked.count(IMAGE) == html.count(IMAGE) + 1
    before, after = tracked.rsplit(IMAGE, 1)
    assert before + after == canonical(html)


def test_there_is_no_pixel_without_html_or_when_opens_are_not_tracked() -> None:
    assert b"multipart" not in compose(request(html=None), TRACKED, NOON)
    assert content(read(compose(request(html="<body></body>"), UNTRACKED, NOON)), "html") == "<body></body>"


@pytest.mark.parametrize(("tracking", "flags"), [("full", tokens.TRACK_FULL), ("day", tokens.TRACK_DAY)])
def test_the_links_of_a_copy_name_its_delivery(tracking: Tracking, flags: int) -> None:
    own = links(KEYRING, MESSAGE, 2, "ann@example.org", tracking, "bounces.example", "https://pixel.example/")
    assert own.pixel_url is not None
    found = re.fullmatch(r"https://pixel\.example/o/([\w-]{42})\.gif", own.pixel_url)
    assert found
    pixel = KEYRING.verify("pixel", tokens.from_url(found[1]))
    back = KEYRING.verify("return-path", tokens.from_local_part(own.return_token))
    assert pixel
    assert back
    assert (pixel.message_id, pixel.recipient_no, pixel.flags) == (MESSAGE, 2, flags)
    assert (back.message_id, back.recipient_no) == (MESSAGE, 2)
    assert KEYRING.names(back, "ann@example.org")
    assert own.rfc_message_id == rfc_message_id(MESSAGE, "bounces.example") == f"<{MESSAGE}@bounces.example>"


def test_a_copy_that_is_not_tracked_has_no_pixel() -> None:
    own = links(KEYRING, MESSAGE, 2, "ann@example.org", "off", "bounces.example", "https://pixel.example/")
    assert own.pixel_url is None


@modest
@given(
    bodies | st.none(),
    bodies,
    st.sampled_from(["", "ä", "ж" * 500, "\r\n", "a" * 700]),
    st.sampled_from(["", "</body>", "\n</BODY \n>\n</html>\n"]),
)
def test_the_pixel_stands_in_the_html_once_whatever_the_encoding(
    text: str | None, html: str, filling: str, end: str
) -> None:
    made = accepted(text=text, html=f"{html}</body>{filling}{end}")
    mail = read(compose(made, TRACKED, NOON))
    assert made.html is not None
    at = made.html.lower().rindex("</body")
    found = content(mail, "html")
    assert found is not None
    assert found.removesuffix("\r\n") == (canonical(made.html[:at] + IMAGE + made.html[at:]) or "").removesuffix("\r\n")
    assert IMAGE not in (content(mail, "plain") or "")
