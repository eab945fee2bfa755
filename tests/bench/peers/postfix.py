"""A Postfix of its own, as shipped, that relays everything it is given."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack.binaries import Missing
from local_stack.processes import Process, free_port, running, wait_for_port
from tests.bench.peers.smtp import HOST, Tools
from tests.mail_servers.postfix import BASE, MASTER, QUEUES

# Concurrency and process limits are Postfix's own (100 processes of a kind, 20 sessions with a destination).
# Its programs are started without our environment, but for what import_environment names.
MAIN = """\
{base}
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {tools.daemons}
command_directory = {tools.commands}
shlib_directory = {tools.root}/usr/lib/postfix
meta_directory = {tools.root}/usr/share/postfix
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
mail_owner = {owner}
setgid_group = {group}
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = postfix.test
inet_interfaces = {host}
mynetworks = {host}/32
mydestination =
alias_maps =
relayhost = [{host}]:{to}
smtp_dns_support_level = disabled
"""


@asynccontextmanager
async def relaying(tools: Tools, folder: Path, to: int) -> AsyncIterator[tuple[int, Process]]:
    """Its port and process; Missing where it cannot run."""
    if os.geteuid() != 0:
        raise Missing("Postfix starts for root only")
    port = free_port()
    _prepare(tools, folder, port, to)
    argv: list[str | Path] = [tools.daemons / "master", "-c", folder / "config", "-d"]
    async with running("Postfix", argv, env=tools.environment, log=folder / "master.log") as master:
        await wait_for_port(HOST, port, master, timeout=10)
        yield port, master


def _prepare(tools: Tools, folder: Path, port: int, to: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    owner, group = _account()
    for name in ("config", "data", "queue", "queue/pid", *(f"queue/{name}" for name in QUEUES)):
        (folder / name).mkdir(parents=True)
    for name in ("data", *(f"queue/{name}" for name in QUEUES)):
        shutil.chown(folder / name, owner)
    main = MAIN.format(base=BASE, tools=tools, folder=folder, owner=owner, group=group, host=HOST, to=to)
    (folder / "config/main.cf").write_text(main)
    (folder / "config/master.cf").write_text(MASTER.format(listen=f"{HOST}:{port}", queue_seconds=300))


def _account() -> tuple[str, str]:
    """A user and a group to which no person belongs.

    Postfix's own where its package is installed. Else, so that no account need be made, two of those that every Debian
    has: nothing but this queue is theirs, and Postfix refuses root and nobody.
    """
    users, groups = {each.pw_name for each in pwd.getpwall()}, {each.gr_name for each in grp.getgrall()}
    owner = next((name for name in ("postfix", "mail") if name in users), None)
    group = next((name for name in ("postdrop", "daemon") if name in groups), None)
    if owner is None or group is None:
        raise Missing("Postfix needs a user postfix or mail, and a group postdrop or daemon")
    return owner, group
