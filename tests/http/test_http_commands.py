"""HTTP, changing: the real application before the real daemon's loop, its engine and a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.app import URL, Asgi, Service, until

STUDY: dict[str, Any] = {
    "study": "tiny",
    "space": {"x": {"float": [0, 1]}, "kind": {"choice": {"a": {"y": {"int": [1, 3]}}, "b": {}}}},
    "objectives": {"loss": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
    "budget": {"trials": 6, "parallel": 1},
    "task": "tests.nowhere:train",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=URL, transport=Asgi(service.app)) as client:
        yield client


def submit(http: httpx.Client) -> str:
    answer = http.post("/v1/studies", json={"spec": STUDY})
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == "tiny"
    return str(answer.json()["id"])


def test_submit_json_and_yaml(http: httpx.Client, service: Service) -> None:
    """A study comes as JSON or as a YAML file, gets an id, and its jobs go out."""
    first = submit(http)
    text = yaml.safe_dump({**STUDY, "study": "second"})
    second = http.post("/v1/studies", content=text, headers={"Content-Type": "text/yaml"})
    assert second.status_code == 201, second.text
    until(lambda: {d.jobs[0].study for d in service.dispatched} == {first, second.json()["id"]})
    assert {s["name"] for s in http.get("/v1/studies").json()} == {"tiny", "second"}


def test_a_name_means_the_newest(http: httpx.Client) -> None:
    """Two studies of one name: the name is the later one, ids tell them apart."""
    first, second = submit(http), submit(http)
    assert first != second
    assert http.get("/v1/studies/tiny").json()["id"] == second
    assert http.get(f"/v1/studies/{first}").json()["id"] == first
    assert [s["id"] for s in http.get("/v1/studies").json()] == [second, first]


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"objectivs": {"loss": "minimize"}, "objectives": None}, "objectivs", "objectives"),
        ({"space": {"x": {"float": [0, 1], "log": True}}}, "space.x", "log"),
        ({"space": {"x": {"float": [1, 0]}}}, "space.x", ""),
        ({"search": {"scheduler": "ahsa"}}, "search.scheduler", "asha"),
    ],
)
def test_a_bad_study_is_422_with_every_problem(http: httpx.Client, change: Any, path: str, said: str) -> None:
    """A study with a mistake is refused with its path and a remedy, and nothing is stored."""
    spec = {k: v for k, v in {**STUDY, **change}.items() if v is not None}
    answer = http.post("/v1/studies", json={"spec": spec})
    assert answer.status_code == 422, answer.text
    problems = answer.json()["problems"]
    assert any(p["path"].startswith(path) for p in problems), problems
    assert said in answer.json()["error"]
    assert http.get("/v1/studies").json() == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {"Content-Type": "application/json"}),
        (b"{}", {"Content-Type": "application/json"}),
        (b'{"spec": {}, "extra": 1}', {"Content-Type": "application/json"}),
        (b"a: [", {"Content-Type": "text/yaml"}),
        (b"- 1", {"Content-Type": "application/yaml"}),
        (b"\xff\xfe", {"Content-Type": "text/yaml"}),
    ],
)
def test_what_is_no_study_is_422(http: httpx.Client, body: bytes, headers: dict[str, str]) -> None:
    """Broken JSON, broken YAML and the wrong shape are the sender's mistakes, never a 500."""
    answer = http.post("/v1/studies", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]


def test_yaml_that_is_sent_as_json_says_how_it_is_sent(http: httpx.Client) -> None:
    """The usual slip of a first `curl`: the header is named."""
    answer = http.post("/v1/studies", content=b"study: a\n", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("the body is no JSON (Invalid JSON")
    assert "`Content-Type: text/yaml`" in answer.json()["error"]


def test_ten_megabytes_are_refused(http: httpx.Client) -> None:
    """A study of 10 MB is not read to its end."""
    answer = http.post("/v1/studies", content=b"a" * 10_000_000, headers={"Content-Type": "text/yaml"})
    assert answer.status_code == 413
    assert "1 MiB" in answer.json()["error"]


@pytest.mark.parametrize("artifacts", ["/etc", "../elsewhere", "a/../../b"])
def test_files_stay_below_the_root(http: httpx.Client, artifacts: str) -> None:
    """A submitter does not choose where on the daemon's machine files are written."""
    answer = http.post("/v1/studies", json={"spec": STUDY, "artifacts": artifacts})
    assert answer.status_code == 409
    assert http.get("/v1/studies").json() == []


def test_pause_resume_stop(http: httpx.Client) -> None:
    """The commands change the status that they say, once each; in the wrong state they are 409 and say why."""
    study = submit(http)
    assert http.post(f"/v1/studies/{study}/pause").json() == {"id": study, "status": "paused"}
    again = http.post(f"/v1/studies/{study}/pause")
    assert again.status_code == 409
    assert "paused" in again.json()["error"]
    assert http.post(f"/v1/studies/{study}/resume").json()["status"] == "running"
    assert http.post("/v1/studies/tiny/stop").json()["status"] in {"verifying", "stopped"}


def test_inject(http: httpx.Client) -> None:
    """A config of the user becomes a trial with exactly these values; a bad one is 422 and names the parameter."""
    study = submit(http)
    values = {"x": 0.25, "kind": "a", "kind.a.y": 2}
    trial = http.post(f"/v1/studies/{study}/inject", json={"values": values}).json()["trial"]
    assert http.get(f"/v1/studies/{study}/trials/{trial}").json()["config"] == values
    for bad, said in (({"x": 2, "kind": "b"}, "x"), ({"x": 0.1, "kind": "b", "kind.a.y": 1}, "kind.a.y"),
                      ({"x": 0.1, "kind": "b", "z": 1}, "z")):  # fmt: skip
        answer = http.post(f"/v1/studies/{study}/inject", json={"values": bad})
        assert answer.status_code == 422, answer.text
        assert said in answer.json()["error"]


def test_stop_one_trial(http: httpx.Client, service: Service) -> None:
    """A trial that is stopped is stopped for good; one that is not there is 404."""
    study = submit(http)
    until(lambda: service.dispatched)
    trial = service.dispatched[0].jobs[0].trial
    assert http.post(f"/v1/studies/{study}/trials/{trial}/stop").status_code == 200
    until(lambda: http.get(f"/v1/studies/{study}/trials/{trial}").json()["status"] == "stopped")
    assert http.post(f"/v1/studies/{study}/trials/999/stop").status_code == 404


def test_extend(http: httpx.Client) -> None:
    """A new budget replaces the old one; a key that is none is refused."""
    study = submit(http)
    assert http.post(f"/v1/studies/{study}/extend", json={"budget": {"trials": 99}}).status_code == 200
    assert http.get(f"/v1/studies/{study}/spec").json()["budget"]["trials"] == 99
    slip = http.post(f"/v1/studies/{study}/extend", json={"budget": {"trails": 9}})
    assert (slip.status_code, slip.json()["problems"][0]["path"]) == (422, "budget.trails")
    assert "did you mean 'trials'?" in slip.json()["error"]
    assert http.post(f"/v1/studies/{study}/extend", json={"budget": {"trials": -1}}).status_code == 422


def test_deepen(http: httpx.Client) -> None:
    """The price is a read; raising R is a command; what is no R · eta^k is 422 with the nearest values."""
    study = submit(http)
    found = http.get(f"/v1/studies/{study}/deepen", params={"max_resource": 27})
    assert found.status_code == 200, found.text
    assert (found.json()["from"], found.json()["to"]) == (9, 27)
    assert http.get(f"/v1/studies/{study}/spec").json()["search"]["R"] == 9
    for bad in (http.get(f"/v1/studies/{study}/deepen", params={"max_resource": 30}),
                http.post(f"/v1/studies/{study}/deepen", json={"max_resource": 30})):  # fmt: skip
        assert bad.status_code == 422
        assert "choose 27 or 81" in bad.json()["error"]
    assert http.post(f"/v1/studies/{study}/deepen", json={"max_resource": "x"}).status_code == 422
    done = http.post(f"/v1/studies/{study}/deepen", json={"max_resource": 27, "trials": 8})
    assert done.json()["status"] in {"queued", "running"}
    spec = http.get(f"/v1/studies/{study}/spec").json()
    assert (spec["search"]["R"], spec["budget"]["trials"]) == (27, 8)
    assert http.get(f"/v1/studies/{study}").json()["ladders"] == [[1, 3, 9, 27]]


def test_rebase(http: httpx.Client, service: Service) -> None:
    """A log that replays is refused; one that another version decided is explained first, and rebased when told so."""
    study = submit(http)
    until(lambda: service.dispatched)
    assert http.post(f"/v1/studies/{study}/rebase", json={"apply": True}).status_code == 409
    healthy = http.post(f"/v1/studies/{study}/rebase", json={})
    assert (healthy.status_code, healthy.json()["difference"]) == (200, None)
    with service.store.transaction() as tx:
        tx.append(study, "asked", {"answer": "job", "trial": 99, "kind": "train", "since": 0, "until": 1, "bracket": 0,
                                   "signature": None, "reason": "", "job": "x", "trials": []}, 0.0)  # fmt: skip
    outlook = http.post(f"/v1/studies/{study}/rebase", json={}).json()
    assert outlook["difference"]["recorded"]["trial"] == 99
    assert f"seq {outlook['difference']['seq']} (asked)" in outlook["text"]
    assert outlook["jobs"]
    rebased = http.post(f"/v1/studies/{study}/rebase", json={"apply": True}).json()
    assert rebased["difference"] == outlook["difference"]
    assert http.post(f"/v1/studies/{study}/rebase", json={"apply": True}).status_code == 409
    kinds = [entry["kind"] for entry in http.get(f"/v1/studies/{study}/log").json()]
    assert kinds.count("rebased") == 1
