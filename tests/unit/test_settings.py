"""Settings come from the environment, secrets from files too, and faults are explained to a person."""

from __future__ import annotations

import base64
import os
import string
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from bounce_ingest.parsers.values import Limits
from bounce_ingest.settings import BounceIngestSettings
from pixel.settings import PixelSettings
from sender.settings import SenderSettings
from status_store.settings import StatusStoreSettings
from tests.unit.samples import MESSAGE
from tracepost import runner
from tracepost.client.settings import DEFAULTS
from tracepost.environment import prefix_of, unknown
from tracepost.settings import Port, SecretUrl, Settings, explain, printable

ROOT_KEY = base64.b64encode(b"secret root key".ljust(32, b"-")).decode()
KEYS = f"1:{ROOT_KEY}"
DATABASE = "postgresql://tracepost:secret@db.example:5432/sender"

Set = Callable[..., None]


class ExampleSettings(Settings):
    service: ClassVar[str] = "two-words"

    admin_port: Port = 9999
    database_url: SecretUrl | None = None
    comment: str | None = None


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Set:
    """Sets variables, their prefix left out; nothing else of ours is set."""
    for name in os.environ:
        if name.startswith("TRACEPOST_"):
            monkeypatch.delenv(name)

    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"TRACEPOST_{name}", value)

    set_variables(TOKEN_KEYS=KEYS)
    return set_variables


def explained(kind: type[Settings] = ExampleSettings) -> str:
    with pytest.raises(ValidationError) as raised:
        kind.read()
    return explain(raised.value, kind.service)


def read() -> ExampleSettings:
    return ExampleSettings.read()


def test_what_is_not_set_has_its_default(environment: Set) -> None:
    assert (read().admin_port, read().host, read().log_level) == (9999, "127.0.0.1", "INFO")


def test_a_variable_of_the_service_comes_before_that_of_all(environment: Set) -> None:
    environment(HOST="0.0.0.0")
    assert read().host == "0.0.0.0"
    environment(TWO_WORDS_HOST="192.0.2.1")
    assert read().host == "192.0.2.1"


def test_a_variable_of_another_service_does_not_count(environment: Set) -> None:
    environment(SENDER_HOST="192.0.2.1", TWO_HOST="192.0.2.1", HOSTS="192.0.2.1")
    assert read().host == "127.0.0.1"


def test_a_variable_without_our_prefix_does_not_count(environment: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "ADMIN_PORT", "TWO_WORDS_HOST", "tracepost_host"):
        monkeypatch.setenv(name, "1")
    assert (read().host, read().admin_port) == ("127.0.0.1", 9999)


def test_what_a_test_hands_in_comes_first(environment: Set) -> None:
    environment(HOST="192.0.2.1", ADMIN_PORT="x")
    assert ExampleSettings.read(host="::1", admin_port=0).host == "::1"


def test_a_file_may_hold_the_value(environment: Set, tmp_path: Path) -> None:
    secret = tmp_path / "database"
    secret.write_text(f"{DATABASE}\n")
    environment(DATABASE_URL_FILE=str(secret))
    assert read().database_url is not None
    assert read().database_url.get_secret_value() == DATABASE  # type: ignore[union-attr]
    (tmp_path / "own").write_text("postgresql://own.example/x")
    environment(TWO_WORDS_DATABASE_URL_FILE=str(tmp_path / "own"))
    assert read().database_url.get_secret_value() == "postgresql://own.example/x"  # type: ignore[union-attr]


def test_the_file_of_the_service_comes_before_the_variable_of_all(environment: Set, tmp_path: Path) -> None:
    (tmp_path / "host").write_text("192.0.2.1")
    environment(HOST="192.0.2.2", TWO_WORDS_HOST_FILE=str(tmp_path / "host"))
    assert read().host == "192.0.2.1"


def test_a_file_that_is_not_there_stops_the_start_and_is_named(environment: Set, tmp_path: Path) -> None:
    environment(TWO_WORDS_HOST_FILE=str(tmp_path / "nowhere"))
    with pytest.raises(OSError, match="nowhere"):
        read()


def test_secrets_are_masked_where_settings_are_printed(environment: Set) -> None:
    environment(DATABASE_URL=DATABASE, AMQP_URL="amqp://user:secret@broker.example/", COMMENT="told")
    for text in (printable(read()), repr(read()), str(read())):
        assert "secret" not in text
        assert ROOT_KEY not in text
    lines = printable(read()).splitlines()
    assert "TRACEPOST_TWO_WORDS_TOKEN_KEYS=**********" in lines
    assert "TRACEPOST_TWO_WORDS_DATABASE_URL=**********" in lines
    assert "TRACEPOST_TWO_WORDS_AMQP_URL=**********" in lines
    assert "TRACEPOST_TWO_WORDS_COMMENT=told" in lines
    assert len(lines) == len(ExampleSettings.model_fields)


def test_every_fault_is_explained_by_its_variable(environment: Set) -> None:
    environment(ADMIN_PORT="70000", LOG_LEVEL="loud", PUBLISH_TIMEOUT="0", DRAIN_TIMEOUT="soon")
    named = {line.partition(":")[0].removeprefix("TRACEPOST_TWO_WORDS_") for line in explained().splitlines()}
    assert named == {"ADMIN_PORT", "LOG_LEVEL", "PUBLISH_TIMEOUT", "DRAIN_TIMEOUT"}
    assert "65535" in explained()
    assert "'DEBUG', 'INFO'" in explained()


def test_what_is_required_is_named(environment: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPOST_TOKEN_KEYS")
    assert explained() == "TRACEPOST_TWO_WORDS_TOKEN_KEYS: Field required"
    assert "TRACEPOST_SENDER_BOUNCE_DOMAIN: Field required" in explained(SenderSettings)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret",
        "user:secret@broker.example",
        "//user:secret@broker.example",
        "amqp:///secret",
        "amqp://user:sec/ret@broker.example",
        "amqp://user:sec#ret@broker.example",
        "amqp://user:sec[ret@broker.example",
        "amqp://user:secret@broker.example:port/",
        "amqp://user:secret@broker.example:70000/",
    ],
)
def test_a_url_that_is_none_is_explained_and_not_repeated(environment: Set, url: str) -> None:
    environment(AMQP_URL=url)
    text = explained()
    assert text.startswith("TRACEPOST_TWO_WORDS_AMQP_URL: ")
    assert "sec" not in text


@pytest.mark.parametrize(
    "keys",
    [
        "",
        "secret",
        ROOT_KEY,
        "1:",
        "1:secret",
        "1:!!!!",
        "1:" + base64.b64encode(b"x" * 31).decode(),
        f"256:{ROOT_KEY}",
        f"-1:{ROOT_KEY}",
        f"one:{ROOT_KEY}",
        f"{KEYS},",
        f"{KEYS},2:c2VjcmV0",
        f"{KEYS};2:{ROOT_KEY}",
    ],
)
def test_bad_keys_are_refused_when_the_settings_are_read_and_not_repeated(environment: Set, keys: str) -> None:
    environment(TOKEN_KEYS=keys)
    text = explained()
    assert "key" in text.lower()
    assert ROOT_KEY not in text


@pytest.mark.parametrize("keys", ["secret", "1:!!!!", f"{KEYS},"])
def test_keys_that_cannot_be_read_are_explained_by_their_variable(environment: Set, keys: str) -> None:
    environment(TOKEN_KEYS=keys)
    assert "write TRACEPOST_TOKEN_KEYS as 1:<base64 of 32 or more random bytes>" in explained()


@pytest.mark.parametrize("keys", ["1:", "1:c2VjcmV0", f"256:{ROOT_KEY}"])
def test_keys_that_cannot_be_used_are_explained_by_their_variable(environment: Set, keys: str) -> None:
    environment(TOKEN_KEYS=keys)
    assert "TRACEPOST_TOKEN_KEYS" in explained()


def test_keys_the_wrong_way_round_are_not_repeated(environment: Set) -> None:
    environment(TOKEN_KEYS=f"{ROOT_KEY}:1")
    assert ROOT_KEY not in explained()


def test_a_key_id_that_is_given_twice_is_refused(environment: Set) -> None:
    environment(TOKEN_KEYS=f"{KEYS},1:{base64.b64encode(b'another'.ljust(32)).decode()}")
    assert "twice" in explained()


def test_several_keys_are_read_and_the_highest_signs(environment: Set) -> None:
    environment(TOKEN_KEYS=f"{KEYS},7:{base64.b64encode(b'another'.ljust(32)).decode()}")
    keyring = read().keyring()
    token = keyring.pixel(MESSAGE, 0)
    assert token[0] == 7
    assert keyring.verify("pixel", token)


TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"


def required(environment: Set) -> None:
    environment(
        DATABASE_URL=DATABASE, BOUNCE_DOMAIN="bounces.example", PIXEL_URL="https://pixel.example", SMTP_PORT="2525"
    )


@pytest.mark.parametrize("kind", [SenderSettings, PixelSettings, BounceIngestSettings, StatusStoreSettings])
def test_every_service_starts_with_what_is_required(environment: Set, kind: type[Settings]) -> None:
    required(environment)
    made = kind.read()
    assert "secret" not in printable(made)
    assert made.admin_port in {9101, 9102, 9103, 9104}


def test_waits_between_attempts_are_a_list(environment: Set) -> None:
    required(environment)
    environment(SENDER_RETRY_MINUTES="0.5,2, 10")
    assert SenderSettings.read().retry_minutes == (0.5, 2, 10)


@pytest.mark.parametrize("minutes", ["", "0", "1,-1", ",", "soon", "nan"])
def test_waits_that_are_none_are_refused(environment: Set, minutes: str) -> None:
    required(environment)
    environment(SENDER_RETRY_MINUTES=minutes)
    assert "TRACEPOST_SENDER_RETRY_MINUTES" in explained(SenderSettings)


def test_a_fault_in_a_list_names_a_variable_that_exists(environment: Set) -> None:
    required(environment)
    environment(SENDER_RETRY_MINUTES="1,soon")
    assert explained(SenderSettings).partition(":")[0] == "TRACEPOST_SENDER_RETRY_MINUTES"


def test_a_network_that_is_none_is_explained_by_its_variable(environment: Set) -> None:
    environment(PIXEL_TRUSTED_PROXIES="10.0.0.0/8,nonsense")
    assert explained(PixelSettings).partition(":")[0] == "TRACEPOST_PIXEL_TRUSTED_PROXIES"


def test_an_endless_wait_is_refused(environment: Set) -> None:
    required(environment)
    environment(SENDER_RETRY_MINUTES="1,inf")
    assert "RETRY_MINUTES" in explained(SenderSettings)


def test_trusted_proxies_are_a_list_of_networks(environment: Set) -> None:
    assert PixelSettings.read().trusted_proxies == ()
    environment(PIXEL_TRUSTED_PROXIES="10.0.0.0/8,fd00::/8,192.0.2.1")
    expected = tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8", "192.0.2.1/32")))
    assert PixelSettings.read().trusted_proxies == expected


def test_a_list_may_have_spaces(environment: Set) -> None:
    environment(PIXEL_TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.0/24")
    assert len(PixelSettings.read().trusted_proxies) == 2


def test_a_parser_has_room_for_what_it_reads(environment: Set) -> None:
    required(environment)
    environment(PARSE_BYTES=str(32 * 1024 * 1024))
    assert explained(BounceIngestSettings) == (
        "Value error, PARSE_MEMORY is 536870912: for PARSE_BYTES set it to 1140850688 or more"
    )
    environment(PARSE_MEMORY="1140850688")
    assert BounceIngestSettings.read().limits() == Limits(seconds=10.0, memory=1140850688, read=32 * 1024 * 1024)


def test_parsing_needs_at_least_one_parser(environment: Set) -> None:
    required(environment)
    environment(PARSERS="0", PARSE_SECONDS="0", PARSE_MEMORY="1000000")
    told = explained(BounceIngestSettings)
    assert "TRACEPOST_BOUNCE_INGEST_PARSERS: Input should be greater than or equal to 1" in told
    assert "TRACEPOST_BOUNCE_INGEST_PARSE_SECONDS: Input should be greater than 0" in told
    assert "TRACEPOST_BOUNCE_INGEST_PARSE_MEMORY: Input should be greater than or equal to 134217728" in told


def test_the_keys_of_webhooks_are_read_from_files_too(environment: Set, tmp_path: Path) -> None:
    required(environment)
    (tmp_path / "keys").write_text("an old key, a new key\n")
    environment(WEBHOOK_MAILGUN_KEYS_FILE=str(tmp_path / "keys"), WEBHOOK_AMAZON_SES_TOPICS=f"{TOPIC},{TOPIC}-2")
    made = BounceIngestSettings.read()
    assert [each.get_secret_value() for each in made.webhook_mailgun_keys] == ["an old key", "a new key"]
    assert made.webhook_amazon_ses_topics == (TOPIC, f"{TOPIC}-2")
    assert "key" not in printable(made).partition("WEBHOOK_MAILGUN_KEYS=")[2].partition("\n")[0]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AMAZON_SES_TOPICS", "ses-events", "is no topic: write it as arn:aws:sns:"),
        ("SENDGRID_KEYS", "hush", "WEBHOOK_SENDGRID_KEYS: it is no verification key"),
        ("POSTMARK_SECRETS", "hush:hush", "WEBHOOK_POSTMARK_SECRETS: has 9 characters; write at least 16"),
        ("STANDARD_KEYS", "whsec_hush", "WEBHOOK_STANDARD_KEYS: write whsec_<base64"),
        ("MANDRILL_KEYS", "hush", "WEBHOOK_MANDRILL_URL is missing"),
        ("MAILGUN_KEYS", "hush,hush,hush", "TRACEPOST_BOUNCE_INGEST_WEBHOOK_MAILGUN_KEYS: Tuple should have at most 2"),
    ],
)
def test_a_key_of_a_webhook_that_cannot_verify_is_refused(environment: Set, name: str, value: str, told: str) -> None:
    required(environment)
    environment(**{f"WEBHOOK_{name}": value})
    assert told in explained(BounceIngestSettings)
    assert "hush" not in explained(BounceIngestSettings)


def test_a_certificate_needs_its_key(environment: Set) -> None:
    required(environment)
    environment(TLS_CERTIFICATE="/etc/tracepost/chain.pem")
    assert "TLS_CERTIFICATE and TLS_KEY go together" in explained(BounceIngestSettings)


def test_workers_share_the_limits_of_mail_and_listen_on_ports_that_are_numbers(environment: Set) -> None:
    required(environment)
    environment(BOUNCE_INGEST_WORKERS="4", MOST_CONNECTIONS="100", PARSERS="2", LMTP_PORT="8124")
    settings = BounceIngestSettings.read()
    assert settings.ports() == [("127.0.0.1", 8103), ("127.0.0.1", 2525), ("127.0.0.1", 8124)]
    told = settings.of_worker(3, [5, 6, 7], 8)
    names = ("WORKER", "WORKERS", "LISTEN_FDS", "PARENT_FD", "MOST_CONNECTIONS", "PARSERS")
    assert [told[f"TRACEPOST_BOUNCE_INGEST_{name}"] for name in names] == ["3", "1", "5,6,7", "8", "25", "1"]
    environment(LMTP_PORT="0")
    assert "give numbers" in explained(BounceIngestSettings)


def test_the_relays_ranges_are_read_from_a_file_at_the_start(environment: Set, tmp_path: Path) -> None:
    file = tmp_path / "egress-ip-ranges.csv"
    file.write_text("172.224.224.0/27,GB,GB-EN,London,\n")
    environment(PIXEL_RELAY_RANGES=str(file))
    assert ip_address("172.224.224.1") in PixelSettings.read().relay
    file.write_text("172.224.224.0/27,GB\nLondon\n")
    assert f"RELAY_RANGES: {file}: line 2: 'London'" in explained(PixelSettings)
    file.unlink()
    assert f"RELAY_RANGES: {file}: No such file" in explained(PixelSettings).replace("[Errno 2] ", "")


def test_workers_share_a_port_and_a_limit(environment: Set) -> None:
    environment(PIXEL_WORKERS="4", PIXEL_PORT="0")
    assert "PORT is 0" in explained(PixelSettings)
    environment(PIXEL_PORT="8102")
    told = PixelSettings.read().of_worker(0, [7], 8)
    assert {name: told[f"TRACEPOST_PIXEL_{name}"] for name in ("WORKERS", "LISTEN_FD", "OPENS_A_MINUTE")} == {
        "WORKERS": "1",
        "LISTEN_FD": "7",
        "OPENS_A_MINUTE": "2",
    }


def test_origins_are_written_as_browsers_send_them(environment: Set) -> None:
    environment(DATABASE_URL=DATABASE, CORS_ORIGINS="https://desk.example.org, http://127.0.0.1:8080")
    assert StatusStoreSettings.read().cors_origins == ("https://desk.example.org", "http://127.0.0.1:8080")
    for wrong in ("desk.example.org", "https://desk.example.org/", "https://desk.example.org/page"):
        environment(CORS_ORIGINS=wrong)
        assert f"{wrong} is no origin" in explained(StatusStoreSettings)


@pytest.mark.parametrize("minutes", ["14", "1441"])
def test_a_view_token_lives_a_quarter_of_an_hour_to_a_day(environment: Set, minutes: str) -> None:
    environment(DATABASE_URL=DATABASE, VIEW_MINUTES=minutes)
    assert "VIEW_MINUTES" in explained(StatusStoreSettings)


def test_mail_goes_to_the_local_server_where_nothing_is_said(environment: Set) -> None:
    required(environment)
    found = SenderSettings.read()
    assert [str(each) for each in found.relays] == ["smtp://127.0.0.1:25"]
    assert found.us().is_at(["127.0.0.1"])
    assert found.us().is_at(["::1"])


def test_relays_and_routes_are_printed_as_they_are_written(environment: Set, tmp_path: Path) -> None:
    required(environment)
    (tmp_path / "logins").write_text("mail.example.org ann:secret\n")
    environment(
        SENDER_RELAYS="smtps://mail.example.org, smtp+starttls://b.example:26",
        SENDER_ROUTES="example.com=mx, Example.NET=[::1]:25",
        SENDER_RELAY_LOGINS_FILE=str(tmp_path / "logins"),
        SENDER_NAME_SERVERS="192.0.2.53",
    )
    told = printable(SenderSettings.read()).splitlines()
    assert "TRACEPOST_SENDER_RELAYS=smtps://mail.example.org:465,smtp+starttls://b.example:26" in told
    assert "TRACEPOST_SENDER_ROUTES=example.com=mx,example.net=smtp://[::1]:25" in told
    assert "TRACEPOST_SENDER_NAME_SERVERS=192.0.2.53:53" in told
    assert "TRACEPOST_SENDER_RELAY_LOGINS=**********" in told
    found = SenderSettings.read().routing().default
    assert found is not None
    assert [hop.login and hop.login.password for hop in found.hops] == ["secret", None]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RELAYS", "mail.example.org:0", "is no relay; write it as mail.example.org:25, smtp+starttls://"),
        ("RELAYS", "", "RELAYS: "),
        ("RELAYS", "mx, a.test", "RELAYS: mail goes either to relays or to the servers in DNS"),
        ("ROUTES", "a.test", "is no route; write it as example.org=<relay>"),
        (
            "RELAY_LOGINS",
            "127.0.0.1 ann:secret",
            "would go without TLS; write the relay as smtp+starttls://127.0.0.1:25",
        ),
        ("RELAY_LOGINS", "other.test ann:secret", "RELAY_LOGINS: other.test is no relay"),
        ("RELAY_LOGINS", "secret", "RELAY_LOGINS: line 1 is no login"),
        ("REQUIRE_TLS", "a b", "'a b' is no domain"),
        ("OWN_SERVERS", "127.0.0.0/99", "OWN_SERVERS: '127.0.0.0/99' is no domain"),
        ("NAME_SERVERS", "dns.test", "is no name server; write it as 192.0.2.53"),
        ("CA_FILE", "/nowhere/ca.pem", "/nowhere/ca.pem is no file of certificates in PEM: No such file"),
        ("CA_FILE", __file__, "is no file of certificates in PEM"),
        ("DNS_TIMEOUT", "0", "DNS_TIMEOUT: "),
        ("MX_PORT", "0", "MX_PORT: "),
    ],
)
def test_routing_that_cannot_be_is_explained(environment: Set, name: str, value: str, words: str) -> None:
    required(environment)
    environment(**{f"SENDER_{name}": value})
    told = explained(SenderSettings)
    assert words in told
    assert "secret" not in told


def test_a_key_may_say_since_when_it_signs(environment: Set) -> None:
    assert read().token_key_began() is None
    environment(TOKEN_KEYS=f"{KEYS},7@2026-07-01:{base64.b64encode(b'another'.ljust(32)).decode()}")
    assert read().token_key_began() == datetime(2026, 7, 1, tzinfo=UTC)
    token = read().keyring().pixel(MESSAGE, 0)
    assert token[0] == 7


@pytest.mark.parametrize("date", ["", "soon", "2026-13-01"])
def test_a_date_that_is_none_is_explained(environment: Set, date: str) -> None:
    environment(TOKEN_KEYS=f"1@{date}:{ROOT_KEY}")
    assert "1@2026-07-01:<…> says since when it signs" in explained()


SERVICES = (SenderSettings, PixelSettings, BounceIngestSettings, StatusStoreSettings)
# What clients, the command line, tests and the files of deploy/ read: names that no service has a setting for.
OTHERS = {*DEFAULTS, "amqp_management_url", "postgres_url", "corpus", "crash", "crash_log", "dkim_folder", "version"}
NAMES = ("host", "database_url", "ca_file", "api_keys")


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("TRACEPOST_TWO_WORDS_HOSTT", "TRACEPOST_TWO_WORDS_HOSTT names no setting; is TRACEPOST_TWO_WORDS_HOST meant?"),
        ("TRACEPOST_TWO_WORDS_host", "TRACEPOST_TWO_WORDS_host names no setting; is TRACEPOST_TWO_WORDS_HOST meant?"),
        ("TRACEPOST_TWO_WORDS_API_KEY_FILE", "is TRACEPOST_TWO_WORDS_API_KEYS_FILE meant?"),
        ("TRACEPOST_TWO_WORDS_CAA_FILE", "is TRACEPOST_TWO_WORDS_CA_FILE meant?"),
        ("TRACEPOST_TWO_WORDS_ZZZ", "TRACEPOST_TWO_WORDS_ZZZ names no setting"),
        ("TRACEPOST_TWO_WORDS_", "TRACEPOST_TWO_WORDS_ names no setting"),
        ("TRACEPOST_TWO_WORDS_HOST", ""),
        ("TRACEPOST_TWO_WORDS_HOST_FILE", ""),
        ("TRACEPOST_TWO_WORDS_CA_FILE", ""),
        ("TRACEPOST_TWO_WORDS_CA_FILE_FILE", ""),
        ("TRACEPOST_HOSTT", ""),
        ("TRACEPOST_SENDER_HOSTT", ""),
        ("tracepost_two_words_hostt", ""),
        ("TWO_WORDS_HOSTT", ""),
    ],
)
def test_a_variable_of_the_service_that_names_no_setting_is_told(variable: str, words: str) -> None:
    told = unknown([variable], "two-words", NAMES)
    assert len(told) == bool(words)
    assert all(each.endswith(words) for each in told)


@given(st.sets(st.text(string.ascii_uppercase + "_", max_size=12)))
def test_each_variable_is_told_unless_it_names_a_setting(names: set[str]) -> None:
    known = {f"{name.upper()}{ending}" for name in NAMES for ending in ("", "_FILE")}
    told = unknown((prefix_of("two-words") + name for name in {*names, *known}), "two-words", NAMES)
    assert [each.split()[0] for each in told] == sorted(prefix_of("two-words") + name for name in names - known)


@pytest.mark.parametrize("kind", SERVICES)
def test_no_name_that_any_part_knows_is_told(kind: type[Settings]) -> None:
    fields = {f"TRACEPOST_{name.upper()}" for each in SERVICES for name in each.model_fields}
    own = {f"{prefix_of(each.service)}{name.upper()}" for each in SERVICES for name in each.model_fields}
    names = fields | own | {f"TRACEPOST_{name.upper()}" for name in OTHERS}
    assert unknown([*names, *(f"{name}_FILE" for name in names)], kind.service, kind.model_fields) == []


def checked(*argv: str) -> int:
    """What the runner answers without starting anything."""
    return runner.run(ExampleSettings, lambda *_: pytest.fail("it is not to start"), list(argv))


def test_unknown_variables_are_told_when_the_settings_are_checked(
    environment: Set, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked("--check-config") == os.EX_OK
    assert capsys.readouterr() == ("", "")
    environment(TWO_WORDS_DRAIN_TIMEOT="secret", SENDER_URL="http://sender.example")
    told = "TRACEPOST_TWO_WORDS_DRAIN_TIMEOT names no setting; is TRACEPOST_TWO_WORDS_DRAIN_TIMEOUT meant?\n"
    assert checked("--check-config") == os.EX_OK
    assert capsys.readouterr() == ("", told)
    environment(PUBLISH_TIMEOUT="0")
    assert checked() == os.EX_CONFIG
    assert capsys.readouterr().err.endswith(f"PUBLISH_TIMEOUT: Input should be greater than 0\n{told}")


async def test_unknown_variables_are_told_once_at_the_start(environment: Set) -> None:
    environment(TWO_WORDS_HOSTT="secret", TWO_WORDS_LOG_LEVLE="secret")
    with capture_logs() as logs:
        async with runner.admin_port(ExampleSettings.read(admin_port=0), {}):
            pass
    [warned] = [each for each in logs if each["log_level"] == "warning"]
    assert [each.split()[0] for each in warned["variables"]] == [
        "TRACEPOST_TWO_WORDS_HOSTT",
        "TRACEPOST_TWO_WORDS_LOG_LEVLE",
    ]
    assert "secret" not in str(warned)
