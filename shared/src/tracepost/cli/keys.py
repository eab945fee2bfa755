"""`tracepost keys`: makes keys of API clients, root keys of tokens, and keys of DKIM with their DNS records."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tracepost.cli.options import Json
from tracepost.cli.telling import lines, note, say, tell

app = typer.Typer(no_args_is_help=True, help="Make keys: of API clients, of tokens, of DKIM.")

Algorithm = Literal["rsa", "ed25519"]
RSA_BITS = 2048  # what is longer does not fit into one string of a DNS record everywhere


@app.command("new")
def new_key(
    client: Annotated[str, typer.Option(help="who will use it, e.g. helpdesk", show_default=False)],
    app: Annotated[str, typer.Option(help="whose messages it may send and see; * for all", show_default=False)],
    scope: Annotated[
        list[str], typer.Option(help="send, read, operate or override; give it several times", show_default=False)
    ],
    domain: Annotated[list[str] | None, typer.Option(help="a domain that it may send from; * for all")] = None,
    as_json: Json = False,
) -> None:
    """Make a key of the HTTP APIs: it is shown once; its client's entry for TRACEPOST_API_KEYS holds only a hash."""
    from pydantic import ValidationError

    from tracepost import keys

    key = keys.new(client)
    fields = {"client": client, "app": app, "scopes": scope, "sender_domains": domain or []}
    try:
        entry = keys.Client.model_validate(fields | {"hashes": [keys.hashed(key)]})
    except ValidationError as error:
        wrong = "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
        raise typer.BadParameter(wrong) from None
    told = {"key": key, "entry": entry.model_dump(mode="json")}
    tell(told, as_json, lambda told: typer.echo(f"key: {key}\nentry: {entry.model_dump_json()}"))


@app.command()
def root(as_json: Json = False) -> None:
    """Make a root key of tokens, and say what TRACEPOST_TOKEN_KEYS is then: the highest id signs, all verify.

    Rotate: set the new value everywhere, then drop the old key a year later, but never the one with the lowest id, by
    which suppressed addresses are found.
    """
    import base64
    import secrets
    from datetime import UTC, datetime

    from tracepost.environment import told as setting

    known = setting("token_keys") or ""
    ids = [int(found) for found in re.findall(r"(?:^|,)\s*(\d{1,3})(?:@[^:,]*)?:", known)]
    number = max(ids, default=0) + 1
    if number > 255:
        raise typer.BadParameter("TRACEPOST_TOKEN_KEYS has the last id, 255, already; use one that is free by hand")
    key = f"{number}@{datetime.now(UTC):%Y-%m-%d}:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    value = f"{known},{key}" if known else key
    told = {"key": key, "value": value}
    tell(told, as_json, lambda _: typer.echo(f"key: {key}\nTRACEPOST_TOKEN_KEYS={value}"))


@app.command()
def dkim(
    domain: Annotated[str, typer.Argument(help="that mail is sent from", show_default=False)],
    selector: Annotated[str, typer.Option(help="names the keys in DNS; by default the month")] = "",
    algorithm: Annotated[Algorithm | None, typer.Option(help="one alone; both sign side by side")] = None,
    folder: Annotated[Path, typer.Option(help="where the private keys are written")] = Path(),
    begins: Annotated[str, typer.Option(help="the first day that they sign, 2026-07-01; by default at once")] = "",
    as_json: Json = False,
) -> None:
    """Make private keys in files of their own, and say what DNS must hold before they sign."""
    from datetime import UTC, datetime

    name = selector or f"{datetime.now(UTC):t%Y%m}"
    kinds: tuple[Algorithm, ...] = (algorithm,) if algorithm else ("rsa", "ed25519")
    made = [_dkim(domain, f"{name}-{kind}" if len(kinds) > 1 else name, kind, folder, begins) for kind in kinds]
    told = {"keys": made, "dkim_keys": ",".join(each["entry"] for each in made)}
    tell(told, as_json, _published)


def _dkim(domain: str, selector: str, algorithm: Algorithm, folder: Path, begins: str) -> dict[str, Any]:
    from tracepost import dkim_keys, dkim_private

    file = folder / f"{domain}.{selector}.pem"
    date = f"@{begins}" if begins else ""
    try:
        [listed] = dkim_keys.read([f"{domain}:{selector}{date}={file.resolve()}"])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    pem = _private(algorithm)
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(pem)
    except FileExistsError:
        raise typer.BadParameter(
            f"{file} is there already; give another --selector, for keys are replaced by new names"
        ) from None
    key = dkim_private.Key(listed.domain, listed.selector, dkim_private.private(pem))
    name = f"{listed.selector}._domainkey.{listed.domain}"
    return {"algorithm": algorithm, "file": str(file), "entry": str(listed), "name": name, "record": key.record}


def _private(algorithm: Algorithm) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    made = (
        rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        if algorithm == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _published(told: dict[str, Any]) -> None:
    for each in told["keys"]:
        lines({each["algorithm"]: each["file"]})
        say(f"{each['name']}. TXT {strings(each['record'])}")
    say(f"TRACEPOST_DKIM_KEYS={told['dkim_keys']}")
    note("publish the TXT records first; let keys sign only when DNS shows them everywhere (`tracepost doctor` looks)")


def strings(text: str) -> str:
    """The text of a TXT record as a zone file writes it: in strings of at most 255 bytes (RFC 1035, 3.3)."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
