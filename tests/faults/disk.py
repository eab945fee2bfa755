"""A small disk of its own that can be filled up; only root may make one."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCK = 4096


@dataclass(frozen=True)
class Disk:
    """A file system in memory."""

    folder: Path

    @property
    def ballast(self) -> Path:
        """What takes up the room."""
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with self.ballast.open("ab") as file:
            for size in (1024 * BLOCK, BLOCK):
                while _longer(file.fileno(), size):
                    pass

    def free(self) -> None:
        """Give all that room back."""
        self.ballast.unlink()


def _longer(file: int, by: int) -> bool:
    try:
        os.posix_fallocate(file, os.fstat(file).st_size, by)
    except OSError:
        return False
    return True


@contextmanager
def small_disk(megabytes: int) -> Iterator[Disk]:
    """Skips the test where none can be made."""
    folder = Path(tempfile.mkdtemp(prefix="tracepost-disk-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    try:
        if made.returncode:
            pytest.skip(f"no small disk can be made here: {made.stderr.strip()}")
        yield Disk(folder)
    finally:
        if not made.returncode:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
