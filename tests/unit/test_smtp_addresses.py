"""Addresses in commands are read as aiosmtpd reads them, only faster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiosmtpd.smtp import SMTP
from hypothesis import given
from hypothesis import strategies as st

from bounce_ingest.smtp.server import Server
from tests.unit.samples import modest

server = Server.__new__(Server)  # no connection is needed to read one

pieces = st.lists(
    st.sampled_from(
        ["<", ">", "<>", "a", "b+c7", ".", "..", "@", "x.test", " SIZE=1", " ", '"a b"', "[127.0.0.1]", "é"]
    ),
    max_size=8,
).map("".join)
plain = st.from_regex(r"<[a-z+.]{1,9}@[a-z.-]{1,9}>( [A-Z=1]{0,5})?", fullmatch=True)


def outcome(read: Callable[[str], tuple[str | None, str | None]], argument: str) -> object:
    try:
        address, parameters = read(argument)
        return address, parameters and parameters.split()  # as they are used
    except Exception as error:  # which aiosmtpd answers with an error
        return type(error)


@modest
@given(pieces | plain)
def test_they_are_read_alike(argument: str) -> None:
    assert outcome(server._getaddr, argument) == outcome(partial(SMTP._getaddr, server), argument)
