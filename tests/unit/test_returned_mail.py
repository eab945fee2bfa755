"""What real servers wrote (see tests/returned_mail) is understood as it was meant, and names its delivery."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from bounce_ingest.facts import facts
from bounce_ingest.report import DeliveryReport, RecipientReport, understand
from tests.conftest import ROOT
from tests.mail_servers.net import RETURN_DOMAIN
from tests.returned_mail.cases import CASES, DAY, KEYRING, SERVERS
from tracepost import tokens
from tracepost.events import Bounced, Deferred, Delivered

DATA = ROOT / "tests/data/servers"
ENTRIES = {entry["path"]: entry for entry in map(json.loads, (DATA / "manifest.jsonl").read_text("utf-8").splitlines())}
EVENTS = {"failed": Bounced, "delayed": Deferred, "delivered": Delivered, "relayed": Delivered}


def reports_of(path: str) -> list[tuple[RecipientReport, dict[str, Any]]]:
    """Each recipient beside its truth; fails unless the recipients are exactly those."""
    report = understand((DATA / path).read_bytes())
    assert isinstance(report, DeliveryReport)
    found = {recipient.final_recipient: recipient for recipient in report.recipients}
    truths = {truth["recipient"]: truth for truth in ENTRIES[path]["truth"]}
    assert found.keys() == truths.keys()
    assert len(report.recipients) == len(truths)
    return [(found[recipient], truth) for recipient, truth in truths.items()]


@pytest.mark.parametrize("path", ENTRIES)
def test_recipients_and_actions(path: str) -> None:
    for found, truth in reports_of(path):
        assert found.action == truth["action"]


@pytest.mark.parametrize("path", ENTRIES)
def test_causes(path: str) -> None:
    for found, truth in reports_of(path):
        if truth["categories"]:
            assert found.cause.category in truth["categories"]


@pytest.mark.parametrize("path", ENTRIES)
def test_codes(path: str) -> None:
    for found, truth in reports_of(path):
        if truth["smtp"]:
            assert (found.smtp_code, found.enhanced_code) == (truth["smtp"], truth["enhanced"])


@pytest.mark.parametrize("path", ENTRIES)
def test_a_report_names_its_delivery_and_becomes_its_events(path: str) -> None:
    mail, entry = (DATA / path).read_bytes(), ENTRIES[path]
    report = understand(mail)
    assert isinstance(report, DeliveryReport)
    assert (report.original.message_id_header, report.original.token) == (entry["message_id_header"], entry["token"])
    claim = KEYRING.verify("return-path", tokens.from_local_part(entry["token"]), DAY)
    assert claim
    told = [event.data for event in facts(report, claim, KEYRING, mail)]
    assert {type(data) for data in told} == {EVENTS[recipient.action] for recipient in report.recipients}


def test_every_case_is_there() -> None:
    wanted = {(server, case.name) for case in CASES for server in SERVERS if server in case.failed}
    assert {tuple(path.removesuffix(".eml").split("/")) for path in ENTRIES if "-delayed" not in path} == wanted
    assert {str(path.relative_to(DATA)) for path in DATA.rglob("*.eml")} == ENTRIES.keys()


@pytest.mark.parametrize("path", ENTRIES)
def test_no_real_host_is_named(path: str) -> None:
    mail = (DATA / path).read_text("utf-8")
    assert set(re.findall(r"@([\w.-]+\w)", mail)) <= {
        *("customer.example", "nowhere.example", "nullmx.example", "away.example", "small.example", "provider.example"),
        *("tickets.example", "mail.provider.example", "bounces.tickets.example", RETURN_DOMAIN),
    }
    assert all(address.startswith("192.0.2.") for address in re.findall(r"\d+\.\d+\.\d+\.\d+", mail))
