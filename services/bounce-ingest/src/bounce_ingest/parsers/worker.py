"""A process that parses mails until its standard input ends: it is told no secret, and has a limit of memory.

What it is to do, and then batches of mails, come in as pickles. Answers go out as pickles too, each behind its length
in 8 bytes; the first one says that it is ready.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
from typing import Any, BinaryIO

TOO_MUCH_MEMORY = os.EX_OSERR  # the exit code that says so
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    """Returns the exit code."""
    _end_with_the_service()
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library may print is no answer
    try:
        understand, memory = pickle.load(questions)  # noqa: S301 - the service alone writes there
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        _answer(answers, None)
        while True:
            _answer(answers, [understand(mail) for mail in pickle.load(questions)])  # noqa: S301
    except EOFError:
        return os.EX_OK
    except MemoryError:
        return TOO_MUCH_MEMORY


def _answer(answers: BinaryIO, answer: Any) -> None:
    content = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
    answers.write(len(content).to_bytes(8) + content)
    answers.flush()


def _end_with_the_service() -> None:
    # Ctrl-C, or a supervisor that ends a whole group, is for the service, which still needs us for the mails in hand.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # The end of standard input is not noticed by who parses a mail for ever.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
