"""HTTP, reading: the views of a real store, who may come in, and errors as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from searchd import views
from tests.support.app import URL, Asgi, reading_app
from tests.support.study_db import Written, write_study


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    study = write_study(tmp_path_factory.mktemp("http") / "digits", trials=20)
    yield study
    study.close()


@pytest.fixture
def http(written: Written) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=URL, transport=Asgi(reading_app(written.store, now=written.start + 500))) as client:
        yield client


def ok(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def test_the_reads_are_the_views(http: httpx.Client, written: Written) -> None:
    """What HTTP answers is what the view says, value for value, by id and by name."""
    with written.store.reading() as reader:
        i = written.id
        wanted = {
            "": views.summary(reader, i, written.start + 500), "/front": views.front(reader, i),
            "/trials": views.trials(reader, i), "/trials/3": views.trial(reader, i, 3),
            "/curves?metric=bytes": views.curves(reader, i, "bytes"), "/curves": views.curves(reader, i, "val_error"),
            "/rungs": views.rungs(reader, i), "/log": views.log(reader, i, 0, None),
            "/log?after=5&limit=3": views.log(reader, i, 5, 3), "/events?after=9": views.log(reader, i, 9, None),
        }  # fmt: skip
    for path, view in wanted.items():
        for study in (written.id, written.name):
            found = ok(http.get(f"/v1/studies/{study}{path}"))
            assert found == json.loads(json.dumps(view)), path
    assert [s["id"] for s in ok(http.get("/v1/studies"))] == [written.id]
    assert ok(http.get(f"/v1/studies/{written.name}/spec"))["study"] == "digits"
    assert [w["name"] for w in ok(http.get("/v1/workers"))] == ["w-0"]


def test_the_feed_is_the_log_then_ends(http: httpx.Client, written: Written) -> None:
    """Server-sent events carry every entry once, in order, with its seq as id; `Last-Event-ID` goes on from there."""
    accept = {"Accept": "text/event-stream"}
    text = http.get(f"/v1/studies/{written.id}/events", headers=accept).text
    blocks = [dict(part.split(": ", 1) for part in block.splitlines()) for block in text.strip().split("\n\n")]
    entries = [json.loads(b["data"]) for b in blocks[:-1]]
    assert entries == ok(http.get(f"/v1/studies/{written.id}/log"))
    assert [int(b["id"]) for b in blocks[:-1]] == [e["seq"] for e in entries]
    assert blocks[-1] == {"event": "end", "data": '{"status": "done"}'}
    rest = http.get(f"/v1/studies/{written.id}/events", headers=accept | {"Last-Event-ID": blocks[-2]["id"]}).text
    assert rest.strip() == 'event: end\ndata: {"status": "done"}'


def test_files_of_trials_and_nothing_else(http: httpx.Client, written: Written) -> None:
    """A trial's file comes whole; the database, the token beside it and anything outside do not come at all."""
    (written.folder / "token").write_text("secret")
    (written.folder / "daemon.json").write_text('{"token": "secret"}')
    (written.folder.parent / "outside.txt").write_text("secret")
    (written.folder / "trials").mkdir(exist_ok=True)
    (written.folder / "trials" / "link").unlink(missing_ok=True)
    (written.folder / "trials" / "link").symlink_to(written.folder.parent / "outside.txt")
    trial = next(t for t in ok(http.get(f"/v1/studies/{written.id}/trials"))
                 if ok(http.get(f"/v1/studies/{written.id}/trials/{t['trial']}"))["files"])["trial"]  # fmt: skip
    name = ok(http.get(f"/v1/studies/{written.id}/trials/{trial}"))["files"][0]
    answer = http.get(f"/v1/studies/{written.id}/files/trials/{trial}/{name}")
    assert answer.content == (written.folder / "trials" / str(trial) / name).read_bytes()
    for path in ("study.db", "token", "daemon.json", "trials/link", "trials/../token", "%2e%2e/outside.txt",
                 "trials/%2e%2e/token", "/etc/passwd", "trials"):  # fmt: skip
        refused = http.get(f"/v1/studies/{written.id}/files/{path}")
        assert refused.status_code == 404, path
        assert "secret" not in refused.text


@pytest.mark.parametrize("path", ["nosuch", "nosuch/front", "nosuch/events", "digits/trials/999", "digits/nosuch"])
def test_what_is_not_there_is_404(http: httpx.Client, path: str) -> None:
    """An unknown study, trial or route is 404, as JSON with a message."""
    answer = http.get(f"/v1/studies/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]


def test_a_near_name_is_suggested(http: httpx.Client) -> None:
    """A misspelt study gets the right name in the message."""
    assert "did you mean 'digits'" in http.get("/v1/studies/digit").json()["error"]


def test_a_token_is_wanted_when_one_is_set(written: Written) -> None:
    """With a token, /v1 answers 401 without it and 200 with it; health needs none."""
    with httpx.Client(base_url="http://anywhere", transport=Asgi(reading_app(written.store, token="abc"))) as http:
        for header in ({}, {"Authorization": "Bearer abd"}, {"Authorization": "Basic abc"}, {"Authorization": "abc"}):
            answer = http.get("/v1/studies", headers=header)
            assert answer.status_code == 401
            assert "token" in answer.json()["error"]
        assert http.get("/v1/studies", headers={"Authorization": "Bearer abc"}).status_code == 200
        assert http.get("/healthz").json()["ok"] is True
        assert http.get("/readyz").status_code == 200


def test_without_a_token_only_this_machine_is_answered(written: Written) -> None:
    """A page in the user's browser cannot reach the daemon: neither by its origin nor by another name of loopback."""
    with httpx.Client(base_url=URL, transport=Asgi(reading_app(written.store))) as http:
        assert http.get("/v1/studies").status_code == 200
        assert http.get("/v1/studies", headers={"Origin": "http://localhost:8701"}).status_code == 200
        assert http.post("/v1/studies/digits/stop", headers={"Origin": "https://evil.example"}).status_code == 401
        assert http.get("/v1/studies", headers={"Host": "evil.example:8700"}).status_code == 401


def test_openapi_knows_the_shapes(http: httpx.Client) -> None:
    """Every /v1 route is described, with its answer's model and the errors that it can give."""
    document = ok(http.get("/openapi.json"))
    paths = {p: ops for p, ops in document["paths"].items() if p.startswith("/v1")}
    assert len(paths) >= 18
    for path, operations in paths.items():
        for operation in operations.values():
            assert {"401", "404", "409", "422"} <= set(operation["responses"]), path
    front = paths["/v1/studies/{study}/front"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert front["items"]["$ref"].endswith("/FrontPoint")
    assert http.get("/docs").status_code == 200
