"""wrk: load over HTTP, with paths and headers of our own choosing, and what it has seen."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from local_stack import binaries

# Every line of the file is a path and a user agent, taken in turns; the first argument of wrk's is its name.
SCRIPT = """\
local requests, at = {}, 0
function init(args)
  for line in io.lines(args[1]) do
    local path, agent = line:match("^(%S+) (.+)$")
    local headers = {["User-Agent"] = agent, ["Accept"] = "image/avif,image/webp,*/*", ["Accept-Language"] = "en-US",
      ["Accept-Encoding"] = "gzip, deflate", ["Connection"] = args[2]}
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.stderr:write(string.format('{"requests": %d, "seconds": %f, "refused": %d, "failed": %d, "p50": %f, "p99": %f}\\n',
    summary.requests, summary.duration / 1e6, summary.errors.status, failed,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


@dataclass(frozen=True)
class Seen:
    """What came of a run; times in seconds."""

    requests: int
    seconds: float
    refused: int
    failed: int
    p50: float
    p99: float


def program(folder: Path) -> Path:
    """Of the system if it has one, else unpacked into `folder`."""
    if found := shutil.which("wrk"):
        return Path(found)
    unpacked = folder / "usr/bin/wrk"
    if not unpacked.exists():
        shutil.rmtree(folder, ignore_errors=True)
        binaries.unpack("wrk", folder)
    return unpacked


async def load(
    wrk: Path, url: str, requests: Path, *, connections: int, seconds: int, keep: bool, before: Sequence[str] = ()
) -> Seen:
    """Ask for `requests`, a file with a path and a user agent a line, again and again for so many seconds."""
    script = requests.with_suffix(".lua")
    script.write_text(SCRIPT)
    libraries = os.pathsep.join(map(str, wrk.parents[2].glob("usr/lib/*-linux-gnu")))
    options = [f"-c{connections}", f"-d{seconds}s", "-t1", "-s", str(script), url, str(requests)]
    process = await asyncio.create_subprocess_exec(
        *(*before, str(wrk), *options, "keep-alive" if keep else "close"),
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, told = await process.communicate()
    return Seen(**json.loads(told.splitlines()[-1]))
