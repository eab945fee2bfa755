"""The header that makes a provider repeat our token: what it holds is what the webhook's side reads."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from bounce_ingest.webhooks import amazon_ses, mailgun, mandrill, postmark, sendgrid
from sender import echoes
from sender.compose import TOKEN_HEADER, Links, prepare
from sender.echoes import Provider
from tests import webhooks
from tests.unit.mails import accepted, read
from tests.unit.samples import KEYRING, NOON, request

TOKEN = webhooks.token(KEYRING)
LINKS = Links("<1@bounces.example>", TOKEN, None)


def header(echo: Provider) -> str:
    mail = read(prepare(request(), NOON, None, echo).copy(LINKS))
    assert mail[TOKEN_HEADER] == TOKEN
    return str(mail[echoes.HEADERS[echo]])


def test_each_provider_is_told_what_its_webhook_repeats() -> None:
    assert header("amazon-ses") == f"{amazon_ses.TAG}={TOKEN.removeprefix('b+')}"
    assert json.loads(header("sendgrid")) == {"unique_args": {sendgrid.ARGUMENT: TOKEN}}
    assert json.loads(header("mailgun")) == {mailgun.VARIABLE: TOKEN}
    assert echoes.HEADERS["postmark"] == f"X-PM-Metadata-{postmark.METADATA}"
    assert header("postmark") == TOKEN
    assert json.loads(header("mandrill")) == {mandrill.METADATA: TOKEN}


def test_what_it_says_is_as_short_and_plain_as_the_providers_ask() -> None:
    tag = header("amazon-ses").partition("=")[2]
    assert tag.isalnum()
    assert len(header("postmark")) <= 80
    assert len(echoes.HEADERS["postmark"].removeprefix("X-PM-Metadata-")) <= 20
    assert len(header("mandrill")) <= 200


@pytest.mark.parametrize("echo", get_args(Provider))
def test_ours_stands_before_what_a_client_writes(echo: Provider) -> None:
    name = echoes.HEADERS[echo]
    mail = read(prepare(accepted(headers={name: "x"}), NOON, None, echo).copy(LINKS))
    assert mail.get_all(name) == [echoes.value(echo, TOKEN), "x"]


def test_without_a_provider_there_is_none() -> None:
    mail = read(prepare(request(), NOON).copy(LINKS))
    assert not {name.lower() for name in mail} & {name.lower() for name in echoes.HEADERS.values()}
