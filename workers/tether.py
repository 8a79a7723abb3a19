"""Processes that die with the one that started them, so that `kill -9` of any of ours leaves no orphan.

On Linux the kernel sends a signal when the parent dies (`PR_SET_PDEATHSIG`; it stays over `exec`). Elsewhere a thread
looks at the parent's id twice a second. Run as a script it ties a foreign program: `tether.py PARENT PROGRAM ARG ...`.
A slot also adopts what its child's processes leave behind (`PR_SET_CHILD_SUBREAPER`), and the supervisor what a slot's
do, and they end it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 0.5
GENERATIONS = 200


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """From now on this process gets signal `number` when `parent`, which started it, is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    else:
        threading.Thread(target=_look, args=(parent, number), daemon=True).start()
    if os.getppid() != parent:  # it was gone before we asked
        os.kill(os.getpid(), number)


def _look(parent: int, number: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), number)


def tied(argv: list[str]) -> list[str]:
    """The command line that runs `argv` (a foreign program) so that it is killed when this process dies."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv]


def adopt_orphans() -> None:
    """On Linux: processes whose parents died below us become our children instead of init's."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def children() -> set[int]:
    """The process ids of this process's children, adopted ones too; empty where there is no /proc."""
    found: set[int] = set()
    if sys.platform == "linux":
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError):
                found.update(map(int, (task / "children").read_text().split()))
    return found


def end_orphans(known: set[int]) -> int:
    """SIGKILL every child of this process that is not `known`, and reap it; answers how many there were.

    What they leave behind becomes our child in turn, and what forks while it is ended too: again until none is left.
    """
    ended = 0
    for _ in range(GENERATIONS):
        found = children() - known
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
                ended += 1
        if not found:
            break
    return ended


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
