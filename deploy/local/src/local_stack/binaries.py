"""Finds the programs of RabbitMQ and PostgreSQL and, where apt-get may be used, installs those that are missing.

Other packages can be unpacked into a folder, which changes nothing on the system.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PACKAGES = {
    "rabbitmq-server": "rabbitmq-server",
    "erl": "rabbitmq-server",
    "epmd": "rabbitmq-server",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "psql": "postgresql",
    "pg_dump": "postgresql",
    "pg_restore": "postgresql",
    "pgbench": "postgresql",
}
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_APT_GET = ("apt-get", "-q", "-y", "--no-remove", "-o", "DPkg::Lock::Timeout=300")


class Missing(Exception):
    """A program is not here and cannot be installed from here; the text says what the reader can do."""


def find(program: str) -> Path:
    found = _which(program)
    if found is None:
        raise Missing(_advice([_PACKAGES.get(program, program)]))
    return Path(found)


def ensure(say: Callable[[str], None]) -> None:
    """Install what is missing; raises Missing where that is impossible."""
    if _missing():
        with _turn():
            _ensure(say)


def _ensure(say: Callable[[str], None]) -> None:
    packages = _missing()
    if not packages:
        return
    privilege = _privilege()
    if privilege is None:
        raise Missing(_advice(packages))
    say(f"Installing {' and '.join(packages)} with apt-get")
    began = time.monotonic()
    output = _install(packages, privilege)
    if left := _missing():
        raise Missing(f"{_advice(left)}\n\nThe last lines of apt-get:\n{output}")
    say(f"Installed {' and '.join(packages)} ({time.monotonic() - began:.1f} s)")


def provide(program: str, package: str, say: Callable[[str], None]) -> Path:
    """A program, installed if it is missing; Missing says how where that is impossible."""
    output = ""
    with _turn():
        if _which(program) is None and (privilege := _privilege()) is not None:
            say(f"Installing {package} with apt-get")
            output = f"\n\nThe last lines of apt-get:\n{_install([package], privilege)}"
    found = _which(program)
    if found is None:
        raise Missing(f"{program} is missing. Install it:\n    {_command([package])}{output}")
    return Path(found)


def unpack(package: str, folder: Path) -> None:
    """A Debian package and the libraries that it lacks here, unpacked: no script of theirs runs, no daemon starts."""
    if shutil.which("apt-get") is None:
        raise Missing(f"{package} is a package of Debian, and there is no apt-get here")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _turn(), tempfile.TemporaryDirectory(dir=folder.parent) as room:
        if folder.exists():
            return
        _download(package, Path(room))
        for archive in Path(room).glob("*.deb"):
            _run(["dpkg-deb", "--extract", archive, f"{room}/root"])
        Path(room, "root").rename(folder)


@contextmanager
def _turn() -> Iterator[None]:
    """Two of our processes at once would each find the other's half; apt-get does not wait for all its locks."""
    with Path(tempfile.gettempdir(), f"tracepost-packages-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(package: str, room: Path) -> None:
    simulate: list[str | Path] = ["apt-get", "--simulate", "--no-install-recommends", "install", package]
    try:
        plan = _run(simulate)
    except Missing:
        if (privilege := _privilege()) is None:
            raise
        _run([*privilege, *_APT_GET, "update"])  # a new machine has no lists
        plan = _run(simulate)
    lacking = [name for name in re.findall(r"^Inst (\S+)", plan, re.MULTILINE) if name.startswith("lib")]
    _run(["apt-get", "-q", "download", package, *lacking], cwd=room)


def _run(argv: list[str | Path], cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-5:])
        raise Missing(f"{' '.join(map(str, argv[:4]))} … failed:\n{last}")
    return done.stdout


def _which(program: str) -> str | None:
    postgresql = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    # The rabbitmq-server that Debian has on the PATH is a wrapper which changes user and folder.
    folders = ["/usr/lib/rabbitmq/bin", *map(str, postgresql), os.environ.get("PATH", os.defpath)]
    return shutil.which(program, path=os.pathsep.join(folders))


def _version(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.parent.name)]


def _missing() -> list[str]:
    return sorted({package for program, package in _PACKAGES.items() if _which(program) is None})


def _advice(packages: list[str]) -> str:
    return (
        f"Tracepost needs RabbitMQ and PostgreSQL, and {' and '.join(packages)} is missing. Install it:\n"
        f"    {_command(packages)}\n"
        "or name servers that already run, in TRACEPOST_AMQP_URL with TRACEPOST_AMQP_MANAGEMENT_URL,"
        " and in TRACEPOST_POSTGRES_URL."
    )


def _command(packages: list[str]) -> str:
    return f"sudo apt-get install --no-install-recommends {' '.join(packages)}"


def _privilege() -> list[str] | None:
    """What to put before a command so that it runs as root; None where we may not."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    allowed = shutil.which("sudo") and subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode == 0
    return sudo if allowed else None


def _install(packages: list[str], privilege: list[str]) -> str:
    """Returns the last lines of the output."""
    with tempfile.TemporaryDirectory() as stubs:
        # Packages start and restart services through these two. With others in their place the system's services stay
        # as they are, and unlike a policy-rc.d this cannot be left behind.
        for starter in ("invoke-rc.d", "deb-systemd-invoke"):
            Path(stubs, starter).symlink_to("/bin/true")
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"]
        apt_get = [*privilege, *quiet, *_APT_GET, "-o", f"DPkg::Path={stubs}:{_SYSTEM_PATH}"]
        output = ""
        for step in (["update"], ["install", "--no-install-recommends", *packages]):
            output += subprocess.run(
                [*apt_get, *step], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            ).stdout
        return "\n".join(output.splitlines()[-15:])
