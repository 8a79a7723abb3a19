"""The same answers about devices over HTTP and from a folder; changes reach a daemon, or say what does it without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd import Client
from searchd.alive import SERVICE_DB
from searchd.errors import NotFound, Refused, SearchdError, Unreachable
from searchd.folder import DEVICES, DEVICES_DB, teach_device, with_device
from searchd.store import open_store
from searchd.wire import Ended
from spaces.study import Study
from tests.support.app import Service, until
from tests.support.devices import IDENTITY, NET, WORKER, device_row, result_of

PREDICTED = Study.parse({**NET, "latency": "predicted"})


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    for n in range(4):
        made.broker.alive(WORKER.model_copy(update={"name": f"w-{n}"}))
    with made:
        yield made


def test_a_device_over_http(service: Service) -> None:
    """Added, profiled for a study, shown, read as a whole, removed: by the SDK over the real application and loop."""
    client = service.client
    assert client.devices() == []
    found = until(lambda: client.add_device("cpu"))
    assert (found["name"], found["identity"], found["workers"]) == ("cpu", IDENTITY, 4)
    assert client.profile_device("cpu", PREDICTED, 10)["profiling"]["status"] in ("waiting", "sent")
    job = until(lambda: service.dispatched)[0].jobs[0]
    with service.store.reading() as reader:
        request = (reader.device("cpu").profiling or {})["request"]  # type: ignore[union-attr]
    service.broker.push(Ended(study=job.study, job=job.id, trial=0, attempt=job.attempt, worker="w-0",
                              outcome="finished", result=result_of(request)))  # fmt: skip
    shown = until(lambda: (d := client.device("cpu"))["profile"] and d)
    assert shown["profile"]["quality"]["good"]
    assert [d["name"] for d in client.devices()] == ["cpu"]
    assert set(client.device("cpu", whole=True)["rows"]) >= set(request["architectures"][0]["counts"])
    study = client.submit(PREDICTED)
    assert client.spec(study)["predictor"]["device"] == "cpu"
    client.remove_device("cpu")
    with pytest.raises(NotFound, match="no device 'cpu'"):
        client.device("cpu")
    with pytest.raises(NotFound, match="not registered"):
        client.submit(PREDICTED.model_copy(update={"name": "again"}))


def test_nothing_else_is_sent_to_a_device_that_is_profiled(service: Service) -> None:
    """A study submitted meanwhile waits with all its jobs, and goes on once the profile has ended, however it did."""
    client = service.client
    until(lambda: client.add_device("cpu"))
    client.profile_device("cpu", PREDICTED, 10)
    job = until(lambda: service.dispatched)[0].jobs[0]
    study = client.submit(NET)
    until(lambda: any(e["kind"] == "capacity" for e in client.log(study)))
    for _ in range(5):
        client.add_device("cpu")  # each comes between two rounds of the loop
    assert [d.jobs[0].id for d in service.dispatched] == [job.id]
    service.broker.push(Ended(study=job.study, job=job.id, trial=0, attempt=job.attempt, worker="w-0",
                              outcome="failed", reason="exception", error="no"))  # fmt: skip
    until(lambda: len(service.dispatched) > 1)
    assert client.device("cpu")["profiling"]["error"] == "exception: no"


def test_refusals_over_http(service: Service) -> None:
    """What the daemon refuses arrives as what it is."""
    with pytest.raises(Refused, match="no live worker serves 'rig'"):
        service.client.add_device("rig")
    with pytest.raises(NotFound, match="no device 'rig'"):
        service.client.profile_device("rig", NET)
    with pytest.raises(SearchdError):
        service.client.add_device("no name")
    with pytest.raises(NotFound, match="give its name"):
        service.client.device("")


def test_a_folder_answers_as_a_service_does(tmp_path: Path) -> None:
    """Devices of a service's database, or of one without a service; a change without a daemon says what does it."""
    row = device_row(PREDICTED)
    (tmp_path / DEVICES).mkdir()
    for path, name in ((tmp_path / SERVICE_DB, "cpu"), (tmp_path / DEVICES / DEVICES_DB, "rig")):
        store = open_store(path)
        with store.transaction() as tx:
            tx.put_device(device_row(PREDICTED, name))
        store.close()
    with Client(root=tmp_path) as client:
        assert [d["name"] for d in client.devices()] == ["cpu", "rig"]
        assert client.device("cpu")["workers"] is None
        assert client.device("cpu", whole=True) == json.loads(json.dumps(row.profile))
        assert client.local_root() == tmp_path
        with pytest.raises(NotFound, match="there are: cpu, rig"):
            client.device("x")
        for change in (lambda: client.add_device("x"), lambda: client.remove_device("cpu"),
                       lambda: client.profile_device("cpu", NET)):  # fmt: skip
            with pytest.raises(Unreachable, match="searchd device"):
                change()
    assert (with_device(PREDICTED, tmp_path).predictor or {})["device"] == "cpu"
    with pytest.raises(NotFound, match="not registered"):
        with_device(PREDICTED, tmp_path / "elsewhere")


def test_a_run_teaches_the_profile_that_it_used(tmp_path: Path) -> None:
    """What a study's own database says of its front is put beside the random networks, once."""
    (tmp_path / DEVICES).mkdir()
    (tmp_path / "net").mkdir()
    store = open_store(tmp_path / DEVICES / DEVICES_DB)
    with store.transaction() as tx:
        tx.put_device(device_row(PREDICTED))
    from searchd.engine import submit

    run = open_store(tmp_path / "net" / "study.db")
    study = submit(run, with_device(PREDICTED, tmp_path).dump(), str(tmp_path / "net"), ".", 1.0)
    figures = [{"counts": {"conv-1x8x3x1x1x8x8-32": 1.0}, "ms": 4.0}]
    with run.transaction() as tx:
        tx.append(study, "refitted", {"figures": figures}, 2.0)
    assert teach_device("net", tmp_path) == 1
    assert teach_device("net", tmp_path) == 0
    with store.reading() as reader:
        row = reader.device("cpu")
    assert row is not None
    assert row.profile is not None
    assert row.profile["front"] == figures
    assert teach_device("net", tmp_path / "net") == 0
    store.close()
    run.close()
