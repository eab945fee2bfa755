"""Opens on the local disk while the broker is away: appended and synced in groups, taken by whole files.

All processes share one folder. Each appends to a file of its own, which it holds a lock on; a file without one is full,
or its process is dead, and whoever locks it may take it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from pixel.records import Found, decoded, encoded
from tracepost import metrics
from tracepost.runner import Unavailable

log = structlog.get_logger()

SUFFIX, NEW = ".spool", ".new"
LARGEST_FILE = 4 * 1024 * 1024

Group = Sequence[tuple[bytes, Callable[[], None]]]


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that is ours alone until it is removed or given back."""

    path: Path
    descriptor: int
    bodies: Sequence[bytes]


class Spool:
    """Appends; takes files; drops the oldest when all together are larger than `most` bytes."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._file_size = min(LARGEST_FILE, most // 16)
        self._waiting: list[tuple[bytes, Callable[[], None]]] = []
        self._writing: asyncio.Future[None] | None = None
        # All work on files is done by one thread, one after the other.
        self._thread = ThreadPoolExecutor(1, "spool")
        self._path, self._descriptor, self._size = folder, -1, 0
        self._held: set[int] = set()  # descriptors of what was taken

    def append(self, body: bytes, told: Callable[[], None]) -> None:
        """Call `told` when the record is synced to disk; or, which is counted as lost, when it cannot be."""
        self._waiting.append((body, told))
        if self._writing is None:
            self._write_group()

    def _write_group(self) -> None:
        group, self._waiting = self._waiting, []
        records = [encoded(body) for body, _ in group]
        self._writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, records)
        self._writing.add_done_callback(partial(self._written, group))

    def _written(self, group: Group, writing: asyncio.Future[None]) -> None:
        self._writing = None
        if self._waiting:
            self._write_group()
        if error := writing.exception():
            metrics.OPENS_LOST.labels("disk").inc(len(group))
            log.error("opens lost: the spool cannot be written", opens=len(group), reason=str(error))
        else:
            metrics.OPENS_SPOOLED.inc(len(group))
        for _, told in group:
            told()

    async def take(self) -> Taken | None:
        """The oldest file that no process holds, else our own; None when there is nothing to take."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._take)

    async def remove(self, taken: Taken) -> None:
        """Its records are safe elsewhere."""
        self._held.discard(taken.descriptor)
        await asyncio.get_running_loop().run_in_executor(self._thread, _remove, taken.path, taken.descriptor)

    def give_back(self, taken: Taken) -> None:
        """Its records are to be taken again."""
        self._held.discard(taken.descriptor)
        os.close(taken.descriptor)

    async def close(self) -> None:
        """Return when everything is synced, and what was taken is given back."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._seal)
        self._thread.shutdown()
        for descriptor in self._held:
            os.close(descriptor)

    # What follows runs in the thread.

    def _write(self, records: Sequence[bytes]) -> None:
        try:
            self._append(records)
        except OSError as error:
            # After a sync that failed nobody knows what of that file is on the disk: the group goes into another.
            log.warning("spool file given up", file=self._path.name, reason=str(error))
            self._seal()
            self._append(records)

    def _append(self, records: Sequence[bytes]) -> None:
        data = memoryview(b"".join(records))
        if self._descriptor < 0:
            self._begin()
        self._size += len(data)
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fdatasync(self._descriptor)
        if self._size >= self._file_size:
            self._seal()

    def _begin(self) -> None:
        self._make_room()
        name = f"{time.time_ns()}-{os.getpid()}"  # their order is that of their age
        new, self._path, self._size = self._folder / (name + NEW), self._folder / (name + SUFFIX), 0
        self._descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        new.rename(self._path)  # only now others see it
        with _opened(self._folder, os.O_RDONLY) as folder:
            os.fsync(folder)

    def _seal(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _make_room(self) -> None:
        files = _files(self._folder)
        total = sum(size for _, size in files)
        for path, size in files:
            if total + self._file_size <= self._most:
                return
            if (descriptor := _locked(path)) is not None:
                dropped = len(_read(descriptor).bodies)
                _remove(path, descriptor)
                total -= size
                metrics.OPENS_LOST.labels("spool full").inc(dropped)
                log.error("opens lost: the spool is full, the oldest are dropped", opens=dropped, most_bytes=self._most)

    def _take(self) -> Taken | None:
        taken = self._take_other()
        if taken is None and self._descriptor >= 0:
            self._seal()
            taken = self._take_other()
        return taken

    def _take_other(self) -> Taken | None:
        for path, _ in _files(self._folder):
            if (descriptor := _locked(path)) is not None:
                self._held.add(descriptor)
                found = _read(descriptor)
                if found.damaged:
                    # A torn end is what a crash leaves of opens that were not answered.
                    log.warning("damaged spool file", file=path.name, bytes=found.damaged, kept=len(found.bodies))
                return Taken(path, descriptor, found.bodies)
        return None


def _files(folder: Path) -> list[tuple[Path, int]]:
    """All files, the oldest first, with their sizes."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):
            found.append((path, path.stat().st_size))
    return sorted(found)


def _locked(path: Path) -> int | None:
    """A descriptor with the file's lock; None if another holds it, or the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _read(descriptor: int) -> Found:
    with open(descriptor, "rb", closefd=False) as file:
        return decoded(file.read())


def _remove(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def size(folder: Path) -> int:
    """The bytes of all files."""
    return sum(size for _, size in _files(folder))


@asynccontextmanager
async def spooling(folder: Path, most: int) -> AsyncIterator[Spool]:
    """A spool until the block ends; Unavailable where its folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{os.getpid()}{NEW}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        remedy = "set TRACEPOST_PIXEL_SPOOL to a folder on a local disk that lasts"
        raise Unavailable(f"the spool {folder} cannot be written ({error.strerror}): {remedy}") from error
    spool = Spool(folder, most)
    try:
        yield spool
    finally:
        await spool.close()
