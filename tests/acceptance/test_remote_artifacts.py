"""Checkpoints and models in an object store: `--artifacts s3://bucket/prefix`, over the S3 protocol to a real server.

The server is moto's, in its own process: real HTTP, real signatures, real clients; not a real object store's disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from searchd import Client, Study
from searchd.cli import main
from searchd.errors import Unreachable
from searchd.storage import open_storage
from tests.support.broker import Broker
from tests.support.place import TOKEN, Place, end, until
from tests.support.runs import check_reports
from tests.support.s3 import NO_S3, S3, have_s3

pytestmark = [
    pytest.mark.acceptance, pytest.mark.timeout(300), pytest.mark.skipif(not have_s3(), reason=NO_S3),
]  # fmt: skip
STUDY = {
    "study": "remote",
    "space": {"width": {"int": [4, 8]}},
    "use": ["optimizers/basic"],
    "objectives": {"val_error": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
    "budget": {"trials": 6, "parallel": 1},
    "task": "classify",
}


@pytest.fixture
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


def test_a_study_in_an_object_store(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials go on from checkpoints in the store and the daemon serves models from it. The store hangs in the middle:
    the worker and the study say so, the job is lost without its fault, and once it is back nothing is missing."""
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        broker = stack.enter_context(Broker())
        place = Place(tmp_path, f"sqlite:///{tmp_path / 'study.db'}", broker.url, stack, artifacts=s3.url)
        hasty = {"SEARCHD_STORAGE_TIMEOUT_S": "2", "SEARCHD_STORAGE_PATIENCE_S": "5"}
        daemon = place.ready(hasty)
        worker = place.start(place.worker | hasty, "worker", "--name", "bench", "--keep-mb", "0")
        with Client(place.url, TOKEN) as client:
            study = client.submit(Study.parse(STUDY))
            until(lambda: client.show(study)["steps_done"] >= 2, "two steps are done", 120)
            s3.pause()
            until(lambda: [w for w in client.workers() if s3.url in w["note"]], "a worker says why it waits")
            with pytest.raises(Unreachable, match="s3://"):
                client.download(study, 0, tmp_path / "none")
            until(lambda: client.show(study)["retrying"], "the study says it too")
            assert s3.url in client.show(study)["retrying"][0]["reason"]
            assert client.show(study)["status"] == "running"
            s3.go_on()
            assert client.wait(study, timeout_s=180)["status"] == "done"
            check_reports(client, study, trials=6)
            assert not [w for w in client.workers() if w["note"]]
            lost = [e["payload"]["reason"] for e in client.log(study) if e["kind"] == "lost"]
            assert lost
            assert all(s3.url in reason for reason in lost)
            best = client.front(study)[0]
            files = {path.name: path for path in client.download(study, best["trial"], tmp_path / "best")}
            assert files["weights.bin"].stat().st_size == best["metrics"]["bytes"]
            kept = open_storage(f"{s3.url}/{study}").sizes(f"trials/{best['trial']}")
            assert {"model.onnx", "card.json"} < set(kept)
            assert [name for name in kept if name.endswith(".safetensors")]
        monkeypatch.setenv("SEARCHD_DATABASE", place.daemon["SEARCHD_DATABASE"])
        told = CliRunner().invoke(main, ["replay", "remote", "--json"])
        assert json.loads(told.stdout)["differences"] == []
        assert (end(worker), end(daemon)) == (0, 0)
        for command in ("serve", "worker"):
            assert "test-secret" not in place.log(command).read_text()
        assert not (tmp_path / "artifacts").exists()
