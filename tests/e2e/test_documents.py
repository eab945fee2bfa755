"""What the documents say can be run is run, as an app with least rights, against the running stack."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from local_stack import binaries
from local_stack.stack import Stack
from tests.docs.blocks import Block, all_blocks
from tests.e2e.asking import sent
from tests.e2e.conftest import APP
from tests.rights import secret

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def environment(stack: Stack, secrets: Path) -> dict[str, str]:
    """What the documents take for given."""
    try:
        binaries.provide("curl", "curl", print)
    except binaries.Missing as error:
        pytest.skip(str(error))
    message, _ = await sent(stack, "delivered", "delivered")
    programs = (Path(sys.executable).parent, binaries.find("pg_dump").parent, os.environ.get("PATH", os.defpath))
    amqp = URL(stack.servers.broker.amqp_url).with_user(APP).with_password(secret(secrets, f"amqp-password-{APP}"))
    return stack.environment | {
        "PATH": os.pathsep.join(map(str, programs)),
        "TRACEPOST_AMQP_URL": str(amqp),
        "SENDER": stack.sender_url.removesuffix("/v1"),
        "STATUS": stack.query_url.removesuffix("/v1"),
        "KEY": "the stack asks for none",
        "MESSAGE": message,
        "SENDER_DATABASE": f"{stack.servers.postgres_url}/sender",
        "STATUS_DATABASE": f"{stack.servers.postgres_url}/status",
    }


@pytest.mark.parametrize("block", all_blocks("run"), ids=str)
async def test_it_does_what_the_document_says(
    block: Block, environment: dict[str, str], secrets: Path, tmp_path: Path
) -> None:
    shutil.copy(secrets / "token-keys", tmp_path)  # as for who stands in the folder of secrets
    command = [sys.executable, "-c"] if block.language == "python" else ["sh", "-euc"]
    process = await asyncio.create_subprocess_exec(
        *command,
        block.text,
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, faults = await process.communicate()
    assert process.returncode == 0, f"{said.decode()}\n{faults.decode()}"
    assert said or "pg_dump" in block.text
    assert b"problem" not in said


def _curls(block: Block) -> list[str]:
    return [line for line in block.text.splitlines() if line.startswith("curl")]


@pytest.mark.parametrize("block", [block for block in all_blocks("run") if _curls(block)], ids=str)
async def test_a_refused_request_would_be_noticed(block: Block) -> None:
    assert all("--fail" in line for line in _curls(block))
