"""Takes mails out of Maildir folders, each when what it says is safe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from tracepost import metrics
from tracepost.broker.session import pause

log = structlog.get_logger()

AT_ONCE = 32  # mails that are taken in together
LOOK_EVERY = 1.0  # seconds

# Returns when the mail is safe; fails otherwise, for one of the reasons to try again or for another.
Take = Callable[[bytes], Awaitable[None]]


class Maildir:
    """One folder; what is in its `new` is ours to take away."""

    def __init__(self, folder: Path, keep: int, take: Take, try_again: tuple[type[Exception], ...]) -> None:
        self.folder = folder
        self._new, self._keep, self._take, self._try_again = folder / "new", keep, take, try_again
        self._fault: str | None = None
        self._passed_over: set[str] = set()  # until the next start: none of them may hold up the others

    async def check(self) -> str | None:
        """For readiness."""
        return self._fault

    async def watch(self) -> None:
        """For ever; what cannot be taken now stays where it is."""
        failures = 0
        while True:
            self._fault = None
            try:
                waiting = await asyncio.to_thread(self._look)
                await asyncio.gather(*map(self._one, waiting))
            except OSError as error:
                waiting, self._fault = [], f"{self._new} cannot be read: {error.strerror}"
            failures = failures + 1 if self._fault else 0
            if failures:
                log.warning("maildir waits", reason=self._fault)
                await asyncio.sleep(pause(failures))
            elif not waiting:
                await asyncio.sleep(LOOK_EVERY)

    def _look(self) -> Sequence[str]:
        """The first that are there: the names begin with the time."""
        with os.scandir(self._new) as entries:
            names = [each.name for each in entries if each.is_file(follow_symlinks=False)]
        return sorted(name for name in names if name not in self._passed_over)[:AT_ONCE]

    async def _one(self, name: str) -> None:
        try:
            await self._take(await asyncio.to_thread(self._read, name))
            await asyncio.to_thread((self._new / name).unlink, missing_ok=True)
        except self._try_again as error:
            self._fault = f"{name}: {error}"
        except Exception:
            log.exception("a mail is passed over", file=str(self._new / name))
            self._passed_over.add(name)
            metrics.MAILS_PASSED_OVER.inc()

    def _read(self, name: str) -> bytes:
        with (self._new / name).open("rb") as mail:
            return mail.read(self._keep)
