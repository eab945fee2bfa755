"""DNS of a few lines, for tests of what is made of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from tracepost.doctor.domains import Address, Exchange


@dataclass(frozen=True)
class Zone:
    """Texts, hosts of exchangers and addresses by name; every other name does not exist."""

    txt: Mapping[str, Sequence[str]] = field(default_factory=dict)
    mx: Mapping[str, Sequence[str]] = field(default_factory=dict)
    a: Mapping[str, Sequence[str]] = field(default_factory=dict)

    async def texts(self, name: str) -> Sequence[str]:
        return self.txt.get(name, ())

    async def exchanges(self, name: str) -> Sequence[Exchange]:
        return [Exchange(10 * number, host) for number, host in enumerate(self.mx.get(name, ()))]

    async def addresses(self, name: str) -> Sequence[Address]:
        return [ip_address(each) for each in self.a.get(name, ())]

    async def names(self, address: Address) -> Sequence[str]:
        return ()

    async def alias(self, name: str) -> str:
        return ""
