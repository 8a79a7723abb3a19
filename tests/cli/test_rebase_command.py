"""`rebase` on the command line: a healthy study is no error and needs no daemon; a difference is 1, its mending is not
here without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from searchd import Client
from searchd.cli import main
from searchd.errors import Refused
from searchd.store.base import Store
from tests.support.logged import kept


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with kept(tmp_path, 9) as opened:
        yield opened


def run(folder: Path, *args: str, code: int) -> Result:
    result = CliRunner().invoke(main, ["rebase", "toy", *args, "--root", str(folder)])
    assert result.exit_code == code, result.output
    return result


def count(store: Store) -> int:
    with store.reading() as reader:
        return len(list(reader.events("toy")))


def test_a_healthy_study_is_no_error(store: Store, tmp_path: Path) -> None:
    """A log that replays: said so with exit code 0, whether asked or told to, without a daemon; nothing changes."""
    events = count(store)
    for args in ((), ("--yes",)):
        assert "nothing to rebase" in run(tmp_path, *args, code=0).stdout
    found = json.loads(run(tmp_path, "--json", code=0).stdout)
    assert (found["difference"], found["jobs"], found["status"]) == (None, [], "done")
    with Client(root=tmp_path) as client, pytest.raises(Refused, match="nothing to rebase"):
        client.rebase("toy", apply=True)
    assert count(store) == events


def test_a_difference_is_1_and_its_mending_names_the_way(store: Store, tmp_path: Path) -> None:
    """A decision that comes out otherwise is told with its seq, exit code 1, no daemon needed; --yes without a daemon
    is 4 and says what brings one."""
    with store.transaction() as tx:
        false = {"answer": "job", "trial": 99, "kind": "train", "since": 0, "until": 1, "bracket": 0, "signature": None,
                 "reason": "", "job": "x", "trials": []}  # fmt: skip
        seq = tx.append("toy", "asked", false, 0.0)
    told = run(tmp_path, code=1).stdout
    assert f"seq {seq} (asked)" in told
    assert "with --yes this version decides from here on" in told
    assert json.loads(run(tmp_path, "--json", code=1).stdout)["difference"]["seq"] == seq
    assert "searchd run FILE --rebase" in run(tmp_path, "--yes", code=4).stderr
