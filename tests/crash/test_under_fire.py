"""The short crash run of CI: one fault of each kind that matters most, over real processes, and nothing is lost.

The long one, with a random schedule, is `make crash`; docs/reliability.md has its figures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.__main__ import crash
from tests.support.stores import NO_POSTGRES, POSTGRES

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]


def test_a_fleet_on_sqlite_loses_nothing(tmp_path: Path) -> None:
    """Every process is killed once, a slot is stopped for longer than a lease, the broker crashes, network and disk
    fail, a second daemon comes, the first loses its lock: each report is there once, all decisions replay, every trial
    has ended, nothing is held by the dead, and nothing is left running."""
    only = "SIGKILL|STOP slot|killed|frozen|full|second|without"
    found = crash(tmp_path, "sqlite", 10, seed=4, trials=16, lease_s=3.0, step_s=0.1, only=only, once=True)
    assert found["wrong"] == []
    assert len(found["kinds"]) == 10
    assert found["reports"] > 200
    assert found["lost"] > 0, "faults that hit nothing show nothing"


@pytest.mark.postgres
@pytest.mark.skipif(not POSTGRES, reason=NO_POSTGRES)
def test_a_fleet_on_postgresql_loses_nothing(tmp_path: Path) -> None:
    """The same where the database is a server: it crashes, its connections are cut and held up, its lock is lost."""
    only = "database|without"
    found = crash(tmp_path, "postgres", 4, seed=4, trials=16, lease_s=3.0, step_s=0.1, only=only, once=True)
    assert found["wrong"] == []
    assert len(found["kinds"]) == 4
    assert found["reports"] > 200
