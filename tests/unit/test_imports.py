"""The import rules of the architecture, held by reading the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("sender", "pixel", "bounce_ingest", "status_store")
SHARED, LOCAL_STACK = "tracepost", "local_stack"
SOURCES = ("shared/src", "services/*/src", "deploy/local/src")

PURE = {
    *("sender.compose", "sender.copies", "sender.fields", "sender.parts", "sender.outcome", "sender.apps"),
    *("sender.echoes", "sender.entities", "sender.parameters", "sender.dkim"),
    *("sender.lanes", "sender.pacing"),
    "sender.routing",
    *(
        f"sender.routing.{room}"
        for room in (*("cache", "hops", "mx", "named", "reach", "relays", "rests", "routes", "security", "sts"),)
    ),
    *("sender.smtp.values", "sender.smtp.replies", "sender.smtp.commands", "sender.smtp.content", "sender.smtp.auth"),
    *("sender.suppression", "sender.suppression_asked", "sender.suppression_csv"),
    *("sender.listing", "sender.operating"),
    *("pixel.answers", "pixel.opens", "pixel.places", "pixel.records", "pixel.verdict"),
    *("bounce_ingest.report", "bounce_ingest.facts", "bounce_ingest.parsers.values", "bounce_ingest.reading"),
    *("bounce_ingest.placing", "bounce_ingest.delivered_to"),
    *("bounce_ingest.smtp.mailboxes", "bounce_ingest.smtp.caps"),
    *(f"bounce_ingest.quarantine.{room}" for room in ("values", "contained", "asked")),
    *(
        f"bounce_ingest.reading.{room}"
        for room in (
            *("addresses", "amazon_ses", "automatic", "delivery_status", "diagnosis", "disposition", "feedback"),
            *("formats", "lines", "mail_system", "notice", "parts", "returned", "rich_text", "shapes", "values"),
            *("vendor", "wording"),
        )
    ),
    "bounce_ingest.webhooks",
    *(
        f"bounce_ingest.webhooks.{room}"
        for room in (
            *("amazon_ses", "causes", "fields", "mailgun", "mandrill", "place", "postmark", "replays", "sendgrid"),
            *("signatures", "sns", "standard", "values"),
        )
    ),
    *(
        "status_store.fold",
        "status_store.standing",
        "status_store.rollup",
        "status_store.tally",
        "status_store.dead",
        "status_store.why",
        "status_store.badge",
        "status_store.plain",
        "status_store.point",
        "status_store.words",
        "status_store.cursors",
        "status_store.asked",
        "status_store.answers",
        "status_store.operations",
        "status_store.terms",
        "status_store.counters",
    ),
    *("tracepost.events", "tracepost.requests", "tracepost.problems", "tracepost.addresses", "tracepost.tokens"),
    *("tracepost.headers", "tracepost.attachments", "tracepost.wholemail", "tracepost.pixels"),
    *("tracepost.dkim_keys", "tracepost.dkim_private"),
    *("tracepost.doctor.findings", "tracepost.doctor.publishing", "tracepost.doctor.domains"),
    *("tracepost.doctor.spf", "tracepost.doctor.spf_terms", "tracepost.doctor.dkim", "tracepost.doctor.dmarc"),
    *("tracepost.bounces.classify", "tracepost.bounces.values", "tracepost.keys", "tracepost.months"),
    *("tracepost.limit", "tracepost.times"),
}
ADAPTERS = {
    *(
        "sender.store",
        "sender.stock",
        "sender.places",
        "sender.smtp",
        "sender.exchanges",
        "sender.suppression_store",
        "sender.control_store",
        "sender.policy_store",
        "sender.watch",
    ),
    *("pixel.http1", "pixel.spool"),
    *("bounce_ingest.smtp", "bounce_ingest.parsers", "bounce_ingest.quarantine.store"),
    *("bounce_ingest.webhooks.certificates", "bounce_ingest.safe"),
    *("status_store.store", "status_store.queries", "status_store.graves", "status_store.logins"),
    *("status_store.feed", "status_store.issues", "status_store.receipts", "status_store.live", "status_store.sse"),
}

# Of a service: `__main__ → app → handlers → pure | adapters`. What is in neither set above is a handler.
MAY_IMPORT = {
    "__main__": {"app", "settings"},
    "app": {"handler", "pure", "adapter", "settings"},
    "handler": {"pure", "adapter", "settings"},
    "adapter": {"pure", "settings"},
    "pure": {"pure"},
    "settings": {"pure", "settings"},
}

IO = {
    *("asyncio", "concurrent", "multiprocessing", "select", "selectors", "signal", "socket", "socketserver", "ssl"),
    *("subprocess", "threading", "http", "urllib.request", "ftplib", "imaplib", "poplib", "smtplib", "sqlite3"),
    *("fileinput", "glob", "io", "logging", "mmap", "os", "pathlib", "shutil", "sys", "tempfile"),
    *("aio_pika", "aiohttp", "aiormq", "aiosmtpd", "aiosmtplib", "asyncpg", "dns", "prometheus_client"),
    *("structlog", "typer"),
}
IO_FUNCTIONS = {"open", "input", "print", "breakpoint"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


class Import(NamedTuple):
    """`module` is the longest known module that the import names; `line` is where."""

    module: str
    line: int


@cache
def sources() -> Mapping[str, str]:
    """The text of every module of ours, by its name."""
    roots = [root for pattern in SOURCES for root in sorted(ROOT.glob(pattern))]
    found = {}
    for root in roots:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return found


@cache
def nodes(text: str) -> tuple[ast.AST, ...]:
    # Of the statements all, of the expressions those that the rules look at: whole trees would be walked a dozen times.
    kept = (ast.Import, ast.ImportFrom, ast.Attribute, ast.Call)
    return tuple(node for node in ast.walk(ast.parse(text)) if isinstance(node, kept))


def violations(modules: Mapping[str, str]) -> list[str]:
    """Every breach of the rules, as `module:line: what is wrong`."""
    imports = {name: list(imported(name, modules)) for name in modules}
    found: list[str] = []
    for name, text in modules.items():
        for module, line in imports[name]:
            found += [f"{name}:{line}: {fault}" for fault in breaches(name, module)]
        if not name.endswith((".settings", ".environment", ".crash")) and not name.startswith(LOCAL_STACK):
            found += [f"{name}:{line}: reads the environment" for line in environment_reads(text)]
    for name in PURE & modules.keys():
        found += [f"{name}:{line}: calls {function}()" for function, line in io_calls(modules[name])]
        if path := way_to_io(name, imports):
            found.append(f"{name}: is pure, but imports {' → '.join(path)}")
    return sorted(found)


def imported(name: str, modules: Mapping[str, str]) -> Iterator[Import]:
    """What a module imports; `from a import b` imports a.b where that is a module of ours, and always a."""
    package = name if any(other.startswith(f"{name}.") for other in modules) else name.rpartition(".")[0]
    for node in nodes(modules[name]):
        match node:
            case ast.Import(names=names):
                yield from (Import(each.name, node.lineno) for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*above, *([module] if module else [])])
                for each in names:
                    whole = f"{base}.{each.name}"
                    # Of what is not ours the whole name is kept: `from urllib import request` is urllib.request.
                    yield Import(base if whole not in modules and ours(base) else whole, node.lineno)


def ours(module: str) -> bool:
    return top(module) in {*SERVICES, SHARED, LOCAL_STACK}


def top(module: str) -> str:
    return module.partition(".")[0]


def layer(name: str) -> str:
    last = name.rpartition(".")[2]
    if last in {"__main__", "app", "settings"}:
        return last
    return "pure" if name in PURE else "adapter" if adapter(name) else "handler"


def adapter(name: str) -> str | None:
    """The adapter that the module is, or is a part of."""
    return next((each for each in ADAPTERS if f"{name}.".startswith(f"{each}.")), None)


def breaches(name: str, module: str) -> Iterator[str]:
    """What is wrong with one import by its two ends alone."""
    here, there = top(name), top(module)
    if here in SERVICES and there in SERVICES and here != there:
        yield f"a service imports another: {module}"
    if here in (*SERVICES, SHARED) and there == LOCAL_STACK:
        yield f"imports what only starts it: {module}"
    if here == SHARED and there in SERVICES:
        yield f"shared code imports a service: {module}"
    if there in SERVICES and module.split(".")[1:2] == ["app"] and name != f"{there}.__main__":
        yield f"app is imported by __main__ alone: {module}"
    elif name not in PURE and adapter(name) and adapter(name) == adapter(module):
        return
    elif within_service(name, module) and layer(module) not in MAY_IMPORT[layer(name)]:
        yield f"{layer(name)} imports {layer(module)}: {module}"


def within_service(name: str, module: str) -> bool:
    return top(name) == top(module) in SERVICES and "." in name and "." in module


def environment_reads(text: str) -> Iterator[int]:
    for node in nodes(text):
        match node:
            case ast.Attribute(value=ast.Name(id="os" | "posix"), attr=attribute) if attribute in ENVIRONMENT:
                yield node.lineno
            case ast.ImportFrom(module="os" | "posix", names=names) if {each.name for each in names} & ENVIRONMENT:
                yield node.lineno


def io_calls(text: str) -> Iterator[tuple[str, int]]:
    for node in nodes(text):
        match node:
            case ast.Call(func=ast.Name(id=function)) if function in IO_FUNCTIONS:
                yield function, node.lineno


def does_io(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:end]) in IO for end in range(1, len(parts) + 1))


def way_to_io(name: str, imports: Mapping[str, list[Import]]) -> list[str]:
    """The shortest chain of imports from a module to one that does I/O; empty without one."""
    seen, ways = {name}, [[name]]
    while ways:
        way = ways.pop(0)
        for module, _ in imports.get(way[-1], []):
            if does_io(module):
                return [*way[1:], module]
            # Importing a.b runs a too.
            for each in (module, *(module.rsplit(".", up)[0] for up in range(1, module.count(".") + 1))):
                if each in imports and each not in seen:
                    seen.add(each)
                    ways.append([*way, each])
    return []


def test_the_imports_keep_to_the_rules() -> None:
    assert violations(sources()) == []


def test_every_module_that_a_rule_names_exists() -> None:
    assert sources().keys() >= PURE | ADAPTERS
    assert {top(name) for name in sources()} == {*SERVICES, SHARED, LOCAL_STACK}
    for service in SERVICES:
        assert {f"{service}.{name}" for name in ("__main__", "app", "settings")} <= sources().keys()


BREACHES = {
    "a service imports another": ("sender.deliver", "from pixel.verdict import judge"),
    "a service imports another, from afar": ("status_store.fold", "import bounce_ingest.report"),
    "a service imports the local stack": ("bounce_ingest.receive", "from local_stack import reports"),
    "shared code imports the local stack": ("tracepost.cli", "import local_stack.stack"),
    "shared code imports a service": ("tracepost.http", "from sender.store import Queue"),
    "shared code imports a service inside a function": ("tracepost.runner", "def f():\n    import sender"),
    "a handler imports app": ("sender.intake", "from sender.app import service"),
    "a handler imports app, relatively": ("sender.intake", "from .app import service"),
    "the local stack imports app": ("local_stack.stack", "from sender import app"),
    "shared code imports app": ("tracepost.runner", "import pixel.app"),
    "app imports __main__": ("sender.app", "from sender import __main__"),
    "__main__ imports a handler": ("sender.__main__", "from sender.deliver import sending"),
    "a handler imports a handler": ("sender.intake", "from sender import deliver"),
    "an adapter imports a handler": ("sender.store", "from sender.feedback import reason"),
    "an adapter imports an adapter": ("sender.store", "from sender import smtp"),
    "an adapter imports app": ("bounce_ingest.smtp", "from bounce_ingest import app"),
    "a pure module imports a handler": ("pixel.verdict", "from pixel.keep import drain"),
    "a pure module imports an adapter": ("sender.outcome", "from sender.store import Leased"),
    "a pure module imports settings": ("sender.copies", "from sender.settings import SenderSettings"),
    "a pure module waits": ("sender.outcome", "import asyncio"),
    "a pure module speaks HTTP": ("tracepost.requests", "from aiohttp import web"),
    "a pure module speaks SQL": ("status_store.fold", "import asyncpg"),
    "a pure module speaks SMTP": ("sender.compose", "import aiosmtplib.protocol"),
    "a pure module reads files": ("status_store.rollup", "from pathlib import Path"),
    "a pure module opens a file": ("bounce_ingest.report", "def f(name):\n    return open(name)"),
    "a pure module prints": ("tracepost.addresses", "print('x')"),
    "a pure module asks the network": ("tracepost.tokens", "from urllib import request"),
    "a pure module imports a module that does I/O": ("tracepost.problems", "from tracepost import metrics"),
    "a pure module imports one that imports one that does": ("bounce_ingest.facts", "import tracepost.broker.decoding"),
    "a pure module imports I/O for its types": (
        "tracepost.events",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from aio_pika import Message",
    ),
    "a handler reads the environment": ("sender.deliver", "import os\nA = os.environ['A']"),
    "shared code reads the environment": ("tracepost.runner", "import os\nA = os.getenv('A')"),
    "an adapter reads the environment": ("sender.smtp", "from os import environ"),
}


@pytest.mark.parametrize(("module", "text"), BREACHES.values(), ids=BREACHES.keys())
def test_a_breach_is_found(module: str, text: str) -> None:
    before = sources()[module].splitlines()
    # `from __future__` must stay the first statement, so the breach goes to the end.
    broken = {**sources(), module: "\n".join([*before, text, ""])}
    found = [each for each in violations(broken) if each not in violations(sources())]
    assert found, "nothing was noticed"
    assert {each.partition(":")[0] for each in found} >= {module}


def test_a_breach_is_told_with_its_place_and_its_way() -> None:
    modules = {
        "sender": "",
        "sender.compose": "from tracepost import a",
        "sender.app": "x = 1\nimport pixel",
        "pixel": "",
        "tracepost": "",
        "tracepost.a": "import tracepost.b",
        "tracepost.b": "import os.path",
    }
    assert violations(modules) == [
        "sender.app:2: a service imports another: pixel",
        "sender.compose: is pure, but imports tracepost.a → tracepost.b → os.path",
    ]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("sender.settings", "import os\nA = os.environ"),
        ("tracepost.settings", "from os import getenv"),
        ("local_stack.stack", "import os\nA = os.environ"),
        ("sender.__main__", "from sender.app import service\nfrom sender.settings import SenderSettings"),
        ("sender.app", "from sender import deliver, store, compose, settings"),
        ("sender.deliver", "from sender import smtp, outcome"),
        ("sender.store", "from sender.outcome import Outcome"),
        ("sender.compose", "from sender import copies\nfrom urllib.parse import quote\nimport email.policy, random"),
        ("sender.intake", "from tracepost.broker import Publisher\nimport asyncio"),
        ("tracepost.broker.consumer", "from . import publisher\nfrom ..problems import Problem"),
    ],
)
def test_what_keeps_to_the_rules_is_not_complained_of(module: str, text: str) -> None:
    packages = dict.fromkeys(("sender", "tracepost", "tracepost.broker", "local_stack"), "")
    leaves = ("deliver", "store", "compose", "copies", "settings", "smtp", "outcome", "app", "__main__")
    known = {f"sender.{leaf}": "" for leaf in leaves} | {"tracepost.broker.publisher": "", "tracepost.problems": ""}
    assert violations(packages | known | {module: text}) == []
