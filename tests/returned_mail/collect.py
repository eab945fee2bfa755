"""Inside of the machine: starts one server, gives it every case's mail, and writes down the reports that come."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import aiosmtplib

from local_stack.binaries import Missing
from tests.conftest import ROOT, eventually
from tests.mail_servers import hosts, net
from tests.mail_servers.machine import machine
from tests.mail_servers.running import SERVERS, Server, running, unpacked
from tests.returned_mail.cases import CASES, HARD, Case, Truth

DATA = ROOT / "tests/data/servers"
DEADLINE = 60.0

Reports = Mapping[str, bytes]  # by the name of their file


async def collect(name: str) -> None:
    """The reports of one server; Missing names those that did not come."""
    server = SERVERS[name]
    with machine(ROOT / ".local/returned-mail", unpacked(name)) as made:
        server.prepare(made)
        cases = [case for case in CASES if name in case.failed]
        async with net.resolving(), hosts.customers(), hosts.keeping_reports() as returns, running(made, server):
            for case in cases:
                await _submit(case)
            reports = await _reports(server, returns, expected(name, cases))
        version = re.findall(r"\d+\.\d[\w.]*", made.run(*server.VERSION))[0]
    _keep(name, version, reports, expected(name, cases))


def expected(name: str, cases: Iterable[Case]) -> dict[str, tuple[Case, Sequence[Truth]]]:
    """Case and truth of each report that must come, by the name of its file."""
    found = {}
    for case in cases:
        found[f"{case.name}.eml"] = case, case.failed[name]
        if name in case.delayed:
            found[f"{case.name}-delayed.eml"] = case, case.delayed[name]
    return found


async def _submit(case: Case) -> None:
    client = aiosmtplib.SMTP(
        hostname=net.SERVER,
        port=25,
        source_address=(net.SENDER, 0),
        local_hostname="app.tickets.example",
        start_tls=False,
    )
    beyond = not all(recipient.isascii() for recipient in case.recipients)
    async with client:
        await client.mail(case.return_path, options=["SMTPUTF8"] if beyond else [])
        for recipient in case.recipients:
            notify = [f"NOTIFY={case.notify}"] if case.notify else []
            await client.rcpt(recipient, options=notify, encoding="utf-8")
        await client.data(_mail(case))


def _mail(case: Case) -> bytes:
    lines = [
        "From: Support <support@tickets.example>",
        f"To: {', '.join(case.recipients)}",
        f"Subject: Your ticket {case.name}",
        "Date: Mon, 05 Jan 2026 09:00:00 +0000",
        f"Message-ID: <{case.name}@tickets.example>",
        f"Tracepost-Token: {case.token}",
        "",
        "Here is the answer to your question.",
        *(["It is a long one, with many lines that are all alike."] * (case.size // 50)),
        "",
    ]
    return "\r\n".join(lines).encode()


async def _reports(server: Server, returns: hosts.Returns, wanted: Iterable[str]) -> Reports:
    names = {case.return_path: case.name for case in CASES}

    def come() -> Reports:
        found: dict[str, bytes] = {}
        for address, mail in returns.taken:
            delayed = b"Action: delayed" in mail and b"Envelope expired" not in mail
            found.setdefault(f"{names[address]}{'-delayed' if delayed else ''}.eml", mail)
        return found

    async def all_come() -> bool:
        missing = set(wanted) - come().keys()
        assert not missing, f"{server.PACKAGE} did not write {', '.join(sorted(missing))}"
        return True

    try:
        await eventually(all_come, DEADLINE)
    except AssertionError as error:
        raise Missing(str(error)) from None
    return come()


def _keep(name: str, version: str, reports: Reports, wanted: Mapping[str, tuple[Case, Sequence[Truth]]]) -> None:
    """The files, and this server's lines of the manifest."""
    shutil.rmtree(DATA / name, ignore_errors=True)
    (DATA / name).mkdir(parents=True)
    manifest = DATA / "manifest.jsonl"
    lines = manifest.read_text("utf-8").splitlines() if manifest.exists() else []
    kept = [line for line in lines if not json.loads(line)["path"].startswith(f"{name}/")]
    for file, (case, truths) in wanted.items():
        (DATA / name / file).write_bytes(reports[file].replace(b"\r\n", b"\n"))
        entry = {"path": f"{name}/{file}", "server": f"{name} {version}", **_entry(case, truths)}
        kept.append(json.dumps(entry, ensure_ascii=False))
    manifest.write_text("".join(f"{line}\n" for line in sorted(kept)), "utf-8")


def _entry(case: Case, truths: Sequence[Truth]) -> dict[str, object]:
    """In the form of the corpus of real bounces, and our own truth beside it."""
    kind = {"failed": "dsn", "delayed": "delayed"}.get(truths[0].action, "delivered")
    hard = [bool(HARD & {*truth.categories}) for truth in truths]
    expected = [
        {"status": truth.enhanced, "smtp": truth.smtp and str(truth.smtp), "hardbounce": each}
        for truth, each in zip(truths, hard, strict=True)
    ]
    return {
        "corpus": "servers",
        "kind": kind,
        "recipients": [] if kind == "delivered" else [[truth.recipient] for truth in truths],
        "hardbounce": any(hard) if kind == "dsn" else False,
        "expected": expected,
        "truth": [asdict(truth) for truth in truths],
        "token": case.token,
        "message_id_header": f"<{case.name}@tickets.example>",
    }


if __name__ == "__main__":
    try:
        asyncio.run(collect(sys.argv[1]))
    except Missing as error:
        sys.exit(str(error))
