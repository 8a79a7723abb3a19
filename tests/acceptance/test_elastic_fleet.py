"""Real workers that differ, leave in the middle, and come back under another name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from searchd.cli import main
from searchd.wire import LEASE_S
from tests.support.broker import Broker
from tests.support.fleet import Fleet
from tests.support.service import Service

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def study(name: str, pause: float, **more: Any) -> dict[str, Any]:
    return {
        "study": name, "space": {"pause": {"const": pause}, "x": {"float": [0, 1]}},
        "objectives": {"error": "minimize"}, "search": {"scheduler": "fifo", "searcher": "random", "R": 6},
        "budget": {"trials": 2}, "task": "tasks_for_workers:slow_count", **more,
    }  # fmt: skip


def check(at: Service, name: str) -> None:
    """Every step has one report, and the log replays."""
    for trial in at.client.trials(name):
        assert [r["step"] for r in at.client.trial(name, trial["trial"])["reports"]] == list(range(1, 7))
    assert at.replays(name)


def test_a_worker_that_leaves_hands_back_and_another_goes_on(at: Service, broker: Broker, tmp_path: Path) -> None:
    """SIGTERM in the middle of a job: it is handed back with its checkpoint, goes on on the other worker at once and
    not after a lease, from the step that was reached, and counts as no attempt; the list of workers shows who does
    what."""
    with Fleet(broker, tmp_path) as first, Fleet(broker, tmp_path) as second:
        first.ready()
        second.ready()
        at.until(lambda: len(at.client.workers()) == 2, "both are seen")
        name = study("moves", 0.4, budget={"trials": 2})["study"]
        at.client.submit(study("moves", 0.4))
        rows = at.until(lambda: [w for w in at.client.workers() if w["step"] and w["step"] >= 2], "it trains")
        seen = rows[0]
        assert seen["doing"] == f"trial {seen['trial']} of moves, step {seen['step']} of 6"
        told = CliRunner().invoke(main, ["workers", "--url", at.client.backend.url])  # type: ignore[attr-defined]
        assert f"trial {seen['trial']} of moves, step" in told.output
        leaves, stays = (first, second) if seen["name"].startswith(first.name) else (second, first)
        assert leaves.terminate() == 0
        assert at.client.wait(name, 120)["status"] == "done"
        check(at, name)
        (lost,) = at.events(name, "lost")
        assert lost["payload"]["cause"] == "preempted"
        assert lost["payload"]["from"] >= 2, "its checkpoint came with it"
        again = [e for e in at.events(name, "begun") if e["payload"]["attempt"] == 2]
        assert [e["payload"]["worker"] for e in again] == [f"{stays.name}-0"]
        assert again[0]["at"] - lost["at"] < LEASE_S + 2.5, "it waited for the other's job, and for no lease"
        assert at.client.show(name)["ends"] == {"preempted": 1}


def test_a_study_waits_for_its_label_and_says_so(at: Service, broker: Broker, tmp_path: Path) -> None:
    """With the only labelled worker gone, a study that needs the label says what is there, wherever one looks; a new
    worker of another name with the label goes on with it; the worker without never had a job of it."""
    with Fleet(broker, tmp_path) as plain:
        plain.ready()
        with Fleet(broker, tmp_path, "--label", "rack=3") as rack:
            rack.ready()
            at.until(lambda: len(at.client.workers()) == 2, "both are seen")
            at.client.submit(study("racks", 0.2, needs={"rack": 3}))
            at.until(lambda: at.client.show("racks")["steps_done"] >= 2, "it trains")
            rack.terminate()
        why = "no worker of cpu has the labels that it needs, rack=3; they have: no label (1)"
        at.until(lambda: at.client.show("racks")["waits"] == why, "it says why")
        at.until(lambda: [e for e in at.events("racks", "waits") if e["payload"]["text"] == why], "it is noted")
        for command in ("show", "workers"):
            told = CliRunner().invoke(
                main, [command, *(["racks"] if command == "show" else []), "--url", at.client.backend.url]  # type: ignore[attr-defined]
            )  # fmt: skip
            assert why in " ".join(told.output.split()), command
        with Fleet(broker, tmp_path, "--label", "rack=3") as back:
            assert at.client.wait("racks", 120)["status"] == "done"
            check(at, "racks")
            workers = {e["payload"]["worker"] for e in at.events("racks", "begun")}
            assert workers == {f"{rack.name}-0", f"{back.name}-0"}


def test_a_device_that_nobody_serves_is_said_at_once(at: Service, broker: Broker, tmp_path: Path) -> None:
    """`searchd submit` of a study for cuda where only a CPU is served says so, and so do the log and the list."""
    with Fleet(broker, tmp_path) as plain:
        plain.ready()
        at.until(at.client.workers, "it is seen")
        file = tmp_path / "far.yaml"
        file.write_text(
            "study: far\nspace: {x: {float: [0, 1]}}\nobjectives: {error: minimize}\ndevice: cuda\n"
            "task: tasks_for_workers:slow_count\nbudget: {trials: 1}\n"
        )
        told = CliRunner().invoke(main, ["submit", str(file), "--url", at.client.backend.url])  # type: ignore[attr-defined]
        why = "device cuda: no worker serves it; served: cpu (1)"
        assert told.exit_code == 0, told.output
        assert why in told.output
        at.until(lambda: at.events("far", "waits"), "it is noted")
        assert at.client.show("far")["waits"] == why
        assert at.client.prioritize("far", 3)["status"] == "queued"
        assert at.client.show("far")["priority"] == 3
