"""`docker compose up --build --scale worker=3` on a real engine, used from outside, its containers killed.

In CI the images beneath are stand-ins (`.ci/images.sh`): Debian's Python 3.11, Redis 7 and PostgreSQL under the names
that compose.yaml and the Dockerfile use. The Dockerfile, compose.yaml and all that they hold of ours are the real ones.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from searchd import Client, Study
from searchd.errors import Forbidden, SearchdError
from tests.support.broker import free_port
from tests.support.compose import DOCKER, NO_DOCKER, Composed, clean_copy
from tests.support.runs import check_reports

pytestmark = [
    pytest.mark.acceptance, pytest.mark.docker, pytest.mark.timeout(3600),
    pytest.mark.skipif(not DOCKER, reason=NO_DOCKER),
]  # fmt: skip
STUDY = {
    "study": "composed",
    "space": {"width": {"int": [4, 16]}, "depth": {"int": [1, 2]}},
    "use": ["optimizers/basic"],
    "objectives": {"val_error": "minimize", "latency_ms": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
    "budget": {"trials": 27},  # 9 of them go up to 3 at least, 3 to 9, and so one to 27 whatever order they end in
    "task": "classify",
}
UP = ("--scale", "worker=3")
ENDED = frozenset({"done", "stopped", "faulted"})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Composed]:
    composed = Composed(clean_copy(tmp_path / "searchd"))
    (composed.folder / "searchd.token").write_text(secrets.token_urlsafe(32))
    composed.environ |= {"SEARCHD_PORT": str(free_port()), "SEARCHD_PAGE_PORT": str(free_port())}
    try:
        yield composed
    finally:
        composed.close()


def until(place: Composed, condition: Callable[[], Any], what: str, timeout_s: float = 600.0) -> None:
    """Waits; what is not answered meanwhile is not there yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except SearchdError:
            pass
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain until {what}\n{place.logs()}"
        time.sleep(0.1)


def test_compose_keeps_everything(place: Composed, tmp_path: Path) -> None:
    """From a clean clone to a front: a worker, the daemon and Redis are killed in the middle, every report is there
    once and replays; `down` and `up` keep the study, its models and its checkpoints; `down -v` leaves nothing."""
    place.run("--parallel", "1", "build", timeout_s=1200)  # at once, the classic builder installs torch for two images
    place.up(*UP)
    url = f"http://127.0.0.1:{place.environ['SEARCHD_PORT']}"
    token = (place.folder / "searchd.token").read_text()
    assert httpx.get(f"{url}/v1/studies", timeout=10).status_code == 401
    with Client(url, token) as client:
        until(place, lambda: len(client.workers()) == 3, "three workers are there")
        study = client.submit(Study.parse(STUDY))
        for service, steps in (("worker", 4), ("searchd", 12), ("redis", 20)):
            until(place, lambda least=steps: client.show(study)["steps_done"] >= least, f"{steps} steps are done")
            assert client.show(study)["status"] == "running", f"{service} is killed in the middle"
            victim = place.containers(service)[0]
            place.crash(victim)
            until(place, lambda it=victim: place.restarts(it) == 1, f"the engine starts {service} again")
        until(place, lambda: client.show(study)["status"] in ENDED, "the study ends")
        check_reports(client, study, trials=27)
        replayed = json.loads(place.run("exec", "-T", "searchd", "searchd", "replay", study, "--json"))
        assert replayed["differences"] == []
        assert replayed["decisions"] >= 27
        before = (client.show(study), client.front(study), client.log(study))
        best = before[1][0]
        files = {path.name: path.read_bytes() for path in client.download(study, best["trial"], tmp_path / "before")}
        assert len(files["weights.bin"]) == best["metrics"]["bytes"]
        page = f"http://127.0.0.1:{place.environ['SEARCHD_PAGE_PORT']}/_stcore/health"
        assert httpx.get(page, timeout=10).is_success
        its_own = place.run("exec", "-T", "ui", "cat", "/page/token")
        with Client(url, its_own) as looking:
            assert looking.show(study)["status"] == client.show(study)["status"]
            with pytest.raises(Forbidden):
                looking.stop(study)
        assert "secrets" not in place.run("exec", "-T", "ui", "ls", "/run")

        place.run("down", timeout_s=180)
        assert place.run("ps", "--all", "-q") == ""
        place.up(*UP)
        assert (client.show(study), client.front(study), client.log(study)) == before
        again = {path.name: path.read_bytes() for path in client.download(study, best["trial"], tmp_path / "after")}
        assert again == files
        assert client.deepening(study, 27)["resumed"] > 0
        client.deepen(study, 27)
        until(place, lambda: client.show(study)["status"] == "done", "the deepened study ends")
        check_reports(client, study, trials=27)
        begun = [e["payload"] for e in client.log(study, after=before[2][-1]["seq"]) if e["kind"] == "begun"]
        trained = {(job["since"], job["until"]) for job in begun if job["kind"] == "train"}
        assert (9, 27) in trained, "training goes on from the checkpoints"

    place.run("down", "-v", timeout_s=180)
    assert place.docker("volume", "ls", "-q", "--filter", f"name={place.project}") == ""
