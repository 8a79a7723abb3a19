"""Starts a program that dies with its starter: `python -P -m searchd.guard PARENT_PID -- PROGRAM ARG ...`.

On Linux the kernel does it (`PR_SET_PDEATHSIG`, kept over `exec`): SIGTERM, so that the program may end cleanly.
Elsewhere this process stays between the two and looks at its parent twice a second. Either way a `kill -9` of
`searchd run` leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
POLL_S = 0.5
GRACE_S = 8.0


def guarded(argv: list[str], parent: int | None = None) -> list[str]:
    """The command line that runs `argv` under guard of the process `parent` (default: this one)."""
    return [sys.executable, "-P", "-m", "searchd.guard", str(parent or os.getpid()), "--", *argv]


def main(args: list[str]) -> int:
    parent, argv = int(args[0]), args[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            return 0
        os.execvp(argv[0], argv)
    return _stay(parent, argv)


def _stay(parent: int, argv: list[str]) -> int:
    """Between the two: hands signals down, ends the child when the parent is gone."""
    child = subprocess.Popen(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: child.send_signal(n))
    while child.poll() is None:
        if os.getppid() != parent:
            child.terminate()
            try:
                child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()
        time.sleep(POLL_S)
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
