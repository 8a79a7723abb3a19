"""schemathesis against the OpenAPI document of the real application over the real loop: no 5xx, answers as documented.

`SEARCHD_FUZZ` inputs a route (CI: few; `make fuzz`: many); how many were tried is printed.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis (extra dev)")
requests = pytest.importorskip("requests", reason="comes with schemathesis")

from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from searchd.http.limits import Limits  # noqa: E402
from tests.support.app import Service, until  # noqa: E402

INPUTS = max(3, int(os.environ.get("SEARCHD_FUZZ", "90")) // 30)
TRIED: Counter[int] = Counter()
OWN = "own-token-0123456789abcdef"
NAME = "tiny"
STUDY: dict[str, Any] = {
    "study": NAME, "space": {"x": {"float": [0, 1]}, "kind": {"choice": {"a": {"y": {"int": [1, 3]}}, "b": {}}}},
    "objectives": {"loss": "minimize"}, "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 9, "eta": 3},
    "budget": {"trials": 50}, "task": "tests.nowhere:train",
}  # fmt: skip
CHECKS = (
    schemathesis.checks.not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = Limits(rate=0, studies=100_000)
    with Service(tmp_path_factory.mktemp("fuzz"), OWN, limits) as running:
        running.client.submit(STUDY)
        until(lambda: running.dispatched)
        yield running


@pytest.fixture(scope="module")
def api(service: Service) -> Iterator[Any]:
    """The document as a real server serves it, on a socket of loopback."""
    config = uvicorn.Config(service.app, log_level="warning", access_log=False, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="http")
        thread.start()
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{listener.getsockname()[1]}/openapi.json")
        server.should_exit = True
        thread.join()


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Every second name is one that is there, so that the inside of the routes is reached too."""
    if path_parameters and "study" in path_parameters and hash(str(path_parameters["study"])) % 2:
        path_parameters["study"] = NAME
    if path_parameters and isinstance(path_parameters.get("n"), int) and path_parameters["n"] > 3:
        path_parameters["n"] %= 4
    return path_parameters


@pytest.mark.timeout(3600)
def test_no_input_breaks_a_route(api: Any, subtests: pytest.Subtests) -> None:
    """Whatever the document allows, and more: an answer that the document describes, and never our fault."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {OWN}"
    for found in api.get_all_operations():
        operation = found.ok()
        modes = [schemathesis.GenerationMode.POSITIVE]
        if operation.body:  # a path is text, and nearly no text is none
            modes.append(schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:
            with subtests.test(f"{operation.label} {mode.value}"):

                @settings(max_examples=INPUTS, deadline=None, phases=(Phase.generate,), database=None,
                          suppress_health_check=list(HealthCheck))
                @given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: Any) -> None:
                    response = case.call(session=session, timeout=120)
                    TRIED[response.status_code] += 1
                    case.validate_response(response, checks=CHECKS)

                ask()
    session.close()


def test_the_daemon_lives_on(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """After all that the loop runs, and a study that was there is there; the inputs by status are printed."""
    with capsys.disabled():
        print(f"\nHTTP inputs tried: {TRIED.total()}, by status {dict(sorted(TRIED.items()))}")
    assert service._thread.is_alive()
    assert service.client.show(NAME)["name"] == NAME
    assert service.client.submit({**STUDY, "study": "after"})
