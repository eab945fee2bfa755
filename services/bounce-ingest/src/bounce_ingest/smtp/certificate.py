"""The certificate for STARTTLS, taken up anew when its files change."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import structlog

from tracepost.runner import Unavailable

log = structlog.get_logger()

LOOK_EVERY = 60.0  # seconds


class Certificate:
    """A certificate chain and its key in files, read again when they have changed; Unavailable at first."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            self._read = self._changed()
            self.context.load_cert_chain(chain, key)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"the certificate cannot be used: {error}; check TLS_CERTIFICATE and TLS_KEY") from error

    def _changed(self) -> tuple[float, ...]:
        return tuple(file.stat().st_mtime for file in (self._chain, self._key))

    async def follow(self) -> None:
        """Take up a new one, for sessions that begin later; runs for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                if (now := self._changed()) != self._read:
                    self.context.load_cert_chain(self._chain, self._key)
                    self._read = now
                    log.info("took up a new certificate")
            except (OSError, ssl.SSLError) as error:
                log.error("cannot read the certificate; the old one stays", reason=str(error))
