"""What goes out of the door: headers on every answer, no more of a bug than its kind, statuses in the document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.app import asking, reading_app
from tests.support.study_db import Written, write_study

OWN = "own-token-0123456789abcdef"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    study = write_study(tmp_path_factory.mktemp("answers") / "digits", trials=2)
    yield study
    study.close()


def test_every_answer_has_the_security_headers(written: Written) -> None:
    """Errors and files too: no sniffing, no framing, no referrer, nothing kept by caches, no banner."""
    app = reading_app(written.store, token=OWN)
    with asking(app, OWN) as http, asking(app) as stranger:
        answers = [http.get("/v1/studies"), http.get("/nowhere"), http.get("/v1/studies/none"), http.get("/healthz"),
                   stranger.get("/v1/studies"), http.get("/openapi.json")]  # fmt: skip
        for answer in answers:
            head = answer.headers
            assert (head["x-content-type-options"], head["referrer-policy"]) == ("nosniff", "no-referrer")
            assert (head["cache-control"], head["x-frame-options"]) == ("no-store", "DENY")
            assert "default-src 'none'" in head["content-security-policy"]
            assert "server" not in head
        docs = http.get("/docs")
        assert docs.status_code == 200
        assert "frame-ancestors 'none'" in docs.headers["content-security-policy"]
        assert "connect-src 'self'" in docs.headers["content-security-policy"]


def test_a_bug_shows_no_more_than_its_kind(written: Written, caplog: pytest.LogCaptureFixture) -> None:
    """What an exception says may hold anything: the answer has its class, the log the rest."""
    app = reading_app(written.store)

    def workers() -> Any:
        raise RuntimeError("password=hunter2")

    app.state.parts = type(app.state.parts)(**{
        name: getattr(app.state.parts, name) for name in app.state.parts.__slots__} | {"workers": workers})  # fmt: skip
    with asking(app) as http:
        answer = http.get("/v1/workers")
    assert answer.status_code == 500
    assert "RuntimeError" in answer.json()["error"]
    assert "hunter2" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "hunter2" in caplog.text


def test_the_openapi_document_names_every_status(written: Written) -> None:
    """A caller reads there which errors there are."""
    document = json.loads(asking(reading_app(written.store)).get("/openapi.json").text)
    for path, methods in document["paths"].items():
        for method, what in methods.items():
            if path.startswith("/v1"):
                assert {"400", "401", "403", "404", "413", "422", "429", "503"} <= what["responses"].keys(), (method,
                    path)
