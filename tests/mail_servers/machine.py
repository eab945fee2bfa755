"""A machine of its own inside this one: changes of its file system are forgotten, its network has no way out.

It needs root and Linux, and starts no daemon of the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_stack import binaries
from local_stack.binaries import Missing
from tests.mail_servers.net import AWAY, HOSTS, RESOLVER, SERVER, SERVER_NAME

NAMESPACES = ("--mount", "--mount-proc", "--net", "--uts", "--pid", "--fork", "--kill-child")
HOME = "/var/mail/home"  # a Maildir, of all who have a mailbox in HOME_DOMAIN
SMTPUTF8_USER = "jörg"
MOST_BYTES = 50_000  # of a mail that the server takes
# Of the users and groups, which are alike.
IDS = {
    "root": 0,
    "mail": 8,
    "nobody": 65534,
    "postfix": 5001,
    "postdrop": 5002,
    "Debian-exim": 5003,
    "opensmtpd": 5004,
    "opensmtpq": 5005,
    "full": 5006,
    "ann": 5007,
}


def enter(module: str, *arguments: str) -> int:
    """Run a module of ours in namespaces that end with it; returns its exit code."""
    if os.geteuid() != 0 or sys.platform != "linux":
        raise Missing("a machine of its own can be made by root on Linux only")
    return subprocess.run(["unshare", *NAMESPACES, sys.executable, "-m", module, *arguments], check=False).returncode


def unpacked(package: str, folder: Path) -> Path:
    """The files of a Debian package and the libraries that it lacks here."""
    if not (folder / "usr/sbin").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        binaries.unpack(package, folder)
    return folder


@dataclass(frozen=True)
class Machine:
    """Its root as it is seen from outside."""

    root: Path

    def write(self, path: str, text: str, *, owner: str = "root", mode: int = 0o644) -> None:
        """A file on it, and the folders above."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.chown(file, IDS[owner], IDS[owner])
        file.chmod(mode)

    def folder(self, path: str, owner: str = "root", group: str = "root", mode: int = 0o755) -> None:
        """A folder on it."""
        folder = self.root / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, IDS[owner], IDS[group])
        folder.chmod(mode)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs a program there."""
        return ["chroot", str(self.root), *argv]

    def run(self, *argv: str) -> str:
        """Run a program there to its end; what it said, whether or not it succeeded."""
        done = subprocess.run(self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.stdout.decode(errors="replace")


@contextmanager
def machine(room: Path, package: Path) -> Iterator[Machine]:
    """With a package's files on it. Only inside of `enter`."""
    room.mkdir(parents=True, exist_ok=True)
    _do("mount", "-t", "tmpfs", "tmpfs", str(room))
    for name in ("changes", "work", "root"):
        (room / name).mkdir()
    for folder in package.iterdir():
        # A system's /bin, /lib and /sbin are links into /usr, which a folder of that name would hide.
        above = room / "changes" / ("usr" if folder.name in {"bin", "lib", "sbin"} else "")
        shutil.copytree(folder, above / folder.name, symlinks=True, dirs_exist_ok=True)
    layers = f"lowerdir=/,upperdir={room}/changes,workdir={room}/work"
    _do("mount", "-t", "overlay", "overlay", "-o", layers, str(room / "root"))
    _do("mount", "--rbind", "/dev", str(room / "root/dev"))
    _do("mount", "-t", "proc", "proc", str(room / "root/proc"))
    made = Machine(room / "root")
    _configure(made)
    made.folder(HOME, "ann", "ann", 0o700)
    yield made


def _configure(made: Machine) -> None:
    _do("hostname", SERVER_NAME)
    _do("ip", "link", "set", "lo", "up")
    for address in {RESOLVER, *HOSTS.values()} - {AWAY}:
        _do("ip", "address", "add", f"{address}/32", "dev", "lo")
    resolver = made.root / "etc/resolv.conf"
    resolver.unlink(missing_ok=True)
    made.write("/etc/resolv.conf", f"nameserver {RESOLVER}\noptions timeout:2\n")
    made.write("/etc/hosts", f"127.0.0.1 localhost\n{SERVER} {SERVER_NAME} mail\n")
    made.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    made.write("/etc/mailname", f"{SERVER_NAME}\n")
    for file, line in (("passwd", "{0}:x:{1}:{1}::/nonexistent:/bin/false\n"), ("group", "{0}:x:{1}:\n")):
        made.write(f"/etc/{file}", "".join(line.format(*each) for each in IDS.items()))


def _do(*argv: str) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(argv[:4])} … failed: {done.stdout.strip()}")
