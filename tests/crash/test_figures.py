"""What a long run tells of a trial that repeated more steps than its lost attempts explain."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from searchd.store import open_store
from tests.crash.checks import repeated, repeats
from tests.crash.figures import again
from tests.crash.schedule import Happened
from tests.crash.world import Note
from tests.support.stores import S, begin

NOTES = {
    (S, 0, 1): [Note(5, 100.0)],
    (S, 0, 2): [Note(5, 101.0), Note(6, 108.0)],
    (S, 0, 3): [Note(5, 102.0), Note(6, 109.0)],
    (S, 1, 1): [Note(7, 100.0), Note(8, 104.0)],
    (S, 2, 1): [Note(9, 100.0)],
}
FAULTS = [Happened("disk full", 90.0, 98.0, 1, 0.5), Happened("SIGKILL child", 103.0, 103.0, 1, None),
          Happened("SIGTERM slot", 130.0, 130.0, 1, 0.1)]  # fmt: skip


def test_who_repeated_more_than_it_lost_is_told_with_what_befell_it(tmp_path: Path) -> None:
    """Trial 0 computed two steps again for one loss, trial 1 one: the first is told, with its times and the fault."""
    with closing(open_store(f"sqlite:///{tmp_path / 'searchd.db'}")) as store:
        begin(store, trials=3)
        with store.transaction() as t:
            for trial, at in ((0, 104.5), (1, 103.5)):
                t.append(S, "lost", {"trial": trial, "reason": "its child died"}, at)
        with store.reading() as reader:
            assert repeats(reader, NOTES) == (2, {(S, 0): 1})
            told = again(reader, S, 0, NOTES, FAULTS)
    assert repeated(NOTES) == 3
    assert told == {
        "study": S, "trial": 0, "steps": {2: [0.0, 7.0], 3: [1.0, 8.0]}, "lost": [[3.5, "its child died"]],
        "faults": [["SIGKILL child", 2.0, 2.0]],
    }  # fmt: skip
