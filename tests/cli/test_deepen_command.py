"""`deepen` on the command line and in the SDK: the same price everywhere, and nothing happens without a yes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from searchd import Client
from searchd.cli import main
from searchd.store import open_store
from searchd.store.base import Store
from tests.support.app import URL, Asgi, reading_app
from tests.support.logged import kept, logged


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with kept(tmp_path, 27) as opened:
        yield opened


def run(folder: Path, *args: str) -> Result:
    return CliRunner().invoke(main, ["deepen", "toy", *args, "--root", str(folder)])


def test_both_backends_have_the_same_price(store: Store, tmp_path: Path) -> None:
    """Over HTTP and from the folder the price is the same JSON."""
    with Client(URL, transport=Asgi(reading_app(store))) as http, Client(root=tmp_path) as folder:
        for ask in ((81, None), (243, 500)):
            assert http.deepening("toy", *ask) == json.loads(json.dumps(folder.deepening("toy", *ask)))


def test_the_price_is_shown_and_nothing_happens(store: Store, tmp_path: Path) -> None:
    """Without --yes and without a terminal the price is all: in words as in the docs, and as JSON."""
    events = count(store)
    told = run(tmp_path, "--max-resource", "81")
    assert told.exit_code == 0, told.output
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    shown = Path(__file__).parents[2].joinpath("docs/studies.md").read_text()
    said = shown.split("$ searchd deepen digits --max-resource 81\n")[1].split("```")[0]
    assert lines == [" ".join(line.split()) for line in said.replace("digits", "toy").splitlines()]
    found: dict[str, Any] = json.loads(run(tmp_path, "--max-resource", "81", "--json").stdout)
    assert not found["deepened"]
    assert found["price"]["extra"] == {"trials": 94, "evaluations": 137, "steps": 1224, "steps_restart": 1479}
    assert count(store) == events


@pytest.mark.usefixtures("store")
def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    """A value that is no R · eta^k is wrong usage with the nearest values; an unknown study is not found."""
    wrong = run(tmp_path, "--max-resource", "80")
    assert wrong.exit_code == 2
    assert "80 is not R = 27 times a power of eta = 3: choose 81" in wrong.stderr
    unknown = CliRunner().invoke(main, ["deepen", "nobody", "-R", "81", "--root", str(tmp_path)])
    assert unknown.exit_code == 3


@pytest.mark.usefixtures("store")
def test_a_limit_below_what_started_is_wrong_usage(tmp_path: Path) -> None:
    """`--trials` that is no limit any more is told with the least that is one, also with --yes."""
    wrong = run(tmp_path, "--max-resource", "81", "--trials", "5", "--yes")
    assert wrong.exit_code == 2
    assert "49 trials have started, so that 5 is no limit any more: give 49 or more" in wrong.stderr


def test_nobody_goes_up(tmp_path: Path) -> None:
    """A deepening that changes nothing is refused before the question; nothing is started."""
    (tmp_path / "toy").mkdir()
    opened = open_store(f"sqlite:///{tmp_path / 'toy' / 'study.db'}")
    logged(opened, 9, 3, limit=9, scheduler="asha")
    events = count(opened)
    told = run(tmp_path, "--max-resource", "27", "--yes")
    assert told.exit_code == 1
    assert "nobody would train on to 27" in told.stderr
    assert "--trials N" in told.stderr
    assert count(opened) == events
    opened.close()


def count(store: Store) -> int:
    with store.reading() as reader:
        return len(list(reader.events("toy")))
