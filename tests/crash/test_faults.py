"""What the harness takes for a right end of a daemon that lost its lock."""

from __future__ import annotations

import pytest

from tests.crash.faults import was_ending

READY = "INFO searchd.daemon: ready at http://127.0.0.1:1, pid {}, database postgresql://x\n"
ENDING = "INFO searchd.daemon: ending on SIGTERM\n"


@pytest.mark.parametrize(
    ("log", "asked"),
    [
        (READY.format(7) + ENDING, True),
        (READY.format(7) + ENDING + READY.format(8), True),
        (READY.format(7) + READY.format(8) + ENDING, True),  # it was stopped before it could say so
        (READY.format(7), False),
        (READY.format(6) + ENDING + READY.format(7) + READY.format(8), False),  # another one's
        (READY.format(77) + ENDING, False),
        ("", False),
    ],
)
def test_only_a_daemon_that_was_asked_may_end_well(log: str, asked: bool) -> None:
    assert was_ending(log, 7) == asked
