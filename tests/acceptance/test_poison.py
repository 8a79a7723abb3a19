"""Trials that harm: each is told as what it is, its output and traceback are kept, and nothing else suffers."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from searchd.cli import main
from tests.support.broker import Broker
from tests.support.fleet import Fleet
from tests.support.service import Service

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]
MODES = ["raise", "segv", "exit", "nan", "infeasible", "loop", "memory", "flood", "forks", "slot"]
CAUSES = {
    "raise": ("exception", "ValueError: a bug of the user"), "segv": ("crashed", ""), "exit": ("crashed", ""),
    "nan": ("diverged", ""), "infeasible": ("infeasible", "cannot be split over 2 heads"),
    "loop": ("time_limit", "longer than its limit"), "memory": ("out_of_memory", "more than the 300 MiB"),
    "forks": ("crashed", ""), "slot": ("lost", "5 times"),
}  # fmt: skip


def test_poison_is_told_apart_and_harms_nobody(at: Service, broker: Broker, tmp_path: Path) -> None:
    """Exceptions, crashes, NaN, what cannot be, endless loops, memory, floods, forks, a killed slot: each trial has its
    cause and its output, out of memory was tried once more alone, a study beside them ends whole, every slot lives,
    no process is left, and no log has grown without bound."""
    poison = {
        "study": "poison", "space": {"mode": {"choice": MODES}}, "objectives": {"error": "minimize"},
        "search": {"scheduler": "fifo", "searcher": "random", "R": 2}, "budget": {"trials": len(MODES)},
        "task": {"function": "poison_tasks:poison", "time_limit_s": 6},
    }  # fmt: skip
    good = {
        "study": "good", "space": {"mib": {"int": [1, 4]}}, "objectives": {"error": "minimize"},
        "budget": {"trials": 6},
        "search": {"scheduler": "fifo", "searcher": "random", "R": 3}, "task": "poison_tasks:grows",
    }  # fmt: skip
    at.client.submit(poison)
    at.client.pause("poison")
    trials = {mode: at.client.inject("poison", {"mode": mode}) for mode in MODES}
    with Fleet(broker, tmp_path, "--memory", "300", slots=2) as fleet:
        fleet.ready(0)
        fleet.ready(1)
        at.client.resume("poison")
        at.client.submit(good)
        assert at.client.wait("good", 200)["status"] == "done"
        at.until(lambda: all(at.client.trial("poison", n)["status"] in ("failed", "done") for n in trials.values()),
                 "all of them have ended", 200)  # fmt: skip
        for mode, (cause, text) in CAUSES.items():
            assert at.client.trial("poison", trials[mode])["status"] == "failed", mode
            parts = at.client.logs("poison", trials[mode])
            assert parts[-1]["cause"] == cause, (mode, parts[-1])
            assert text in parts[-1]["error"], (mode, parts[-1])
            assert f"step 1 of {mode}" in parts[-1]["output"], mode
            tries = {"memory": 2, "slot": 5}.get(mode, 1)
            assert len(parts) == tries, (mode, parts)
        flood = at.client.logs("poison", trials["flood"])[0]
        assert len(flood["output"]) < 600_000
        assert "bytes were dropped here" in flood["output"]
        assert flood["output"].rstrip().endswith("step 2 of flood") or "the last line" in flood["output"]
        assert fleet.log.stat().st_size < 4_000_000
        segv = at.client.logs("poison", trials["segv"])[0]["output"]
        assert "Fatal Python error: Segmentation fault" in segv, "the frames that crashed"
        told = CliRunner().invoke(main, ["logs", "poison", str(trials["raise"]), "--url", at.client.backend.url])  # type: ignore[attr-defined]
        assert "step 1 of raise" in told.output
        assert "ValueError: a bug of the user" in told.output
        ends = at.client.show("poison")["ends"]
        assert (ends["out_of_memory"], ends["lost"], ends["crashed"]) == (2, 5, 3)
        assert at.client.show("good")["trials"]["done"] == 6
        workers = at.until(lambda: [w for w in at.client.workers() if w["state"] == "idle"], "slots are idle")
        assert len(workers) == 2
        lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
        assert not [line for line in lines if "-c import time; time.sleep(300)" in line], "what was forked is gone"
