"""No path leaves its study's folder: over HTTP, in a folder, in what a client downloads, in what a job names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from searchd.client import Client
from searchd.errors import NotFound, SearchdError
from searchd.wire import CheckpointRef
from tests.support.app import URL, Asgi, reading_app
from tests.support.study_db import Written, write_study
from workers.checkpoints import Checkpoints, Corrupt
from workers.place import artifact_root

OUTSIDE = "what nobody may read"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("files") / "digits"
    study = write_study(folder, trials=4)
    with study.store.reading() as reader:
        root = Path(reader.studies()[0].artifacts)
    trial = root / "trials" / "0"
    trial.mkdir(parents=True, exist_ok=True)
    (trial / "model.onnx").write_text("a model")
    (root / "report.html").write_text("<script>1</script>")
    (root / "report.html.bak").write_text(OUTSIDE)
    (root / "daemon.json").write_text(OUTSIDE)
    (root.parent / "secret").write_text(OUTSIDE)
    (root.parent / "other" / "trials").mkdir(parents=True)
    (root.parent / "other" / "trials" / "x").write_text(OUTSIDE)
    (trial / "link").symlink_to(root.parent / "secret")
    (trial / "up").symlink_to(root)
    (trial / "sideways").symlink_to(root.parent / "other")
    (trial / "loop").symlink_to(trial / "loop")
    (trial / "good").symlink_to(trial / "model.onnx")
    os.mkfifo(trial / "pipe")
    yield study
    study.close()


@pytest.fixture(scope="module")
def http(written: Written) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=URL, transport=Asgi(reading_app(written.store))) as client:
        yield client


PATHS = [
    "../secret", "trials/../../secret", "trials/../daemon.json", "daemon.json", "report.html.bak", "trials", "", ".",
    "trials/0/link", "trials/0/up/daemon.json", "trials/0/sideways/trials/x", "trials/0/loop", "trials/0/pipe",
    "trials/0", "/etc/passwd", "//etc/passwd", "%2e%2e/secret", "trials%2f..%2f..%2fsecret", "trials/..%2f..%2fsecret",
    "%2fetc%2fpasswd", "trials/0/..%5c..%5csecret", "trials/0/%00", "trials/0/model.onnx%00.txt", "~/x", "study.db",
    "trials/0/" + "a" * 300, "trials/0/" + "a/" * 3000, "..;/secret", "trials/0/model.onnx/", "file:///etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leaves_the_study(http: httpx.Client, path: str) -> None:
    """Dots, slashes, encoded or not, links, loops, pipes, NULs, lengths: no file but those that are served."""
    identity = http.get("/v1/studies").json()[0]["id"]
    request = http.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=f"/v1/studies/{identity}/files/{path}".encode())
    answer = http.send(request)
    assert OUTSIDE not in answer.text
    assert answer.status_code in {400, 404} or answer.text == "a model", (answer.status_code, answer.text)


def test_what_is_served_comes_as_a_file_and_never_as_a_page(http: httpx.Client) -> None:
    """A model, a link inside the study, the report: downloads, which a browser shows nothing of in our name."""
    identity = http.get("/v1/studies").json()[0]["id"]
    for path, text in (("trials/0/model.onnx", "a model"), ("trials/0/good", "a model"),
                       ("report.html", "<script>1</script>")):  # fmt: skip
        answer = http.get(f"/v1/studies/{identity}/files/{path}")
        assert (answer.status_code, answer.text) == (200, text)
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    listed = http.get(f"/v1/studies/{identity}/trials/0").json()["files"]
    assert {"model.onnx", "good"} <= set(listed)
    assert not {"link", "loop", "pipe"} & set(listed)


def test_a_folder_hands_out_no_more(written: Written, tmp_path: Path) -> None:
    """The client that reads a folder keeps to the study's files as well."""
    with written.store.reading() as reader:
        root = Path(reader.studies()[0].artifacts)
    with Client(root=written.folder if hasattr(written, "folder") else root.parent) as client:
        name = client.studies()[0]["id"]
        for path in ("../secret", "trials/0/link", "/etc/passwd", "trials/0/sideways/trials/x"):
            with pytest.raises(NotFound):
                client.backend.fetch(name, path, tmp_path / "got")
        assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../evil", "..", "sub/../../../evil", "..\\evil",
                                  "evil\x00", "link/evil"])  # fmt: skip
def test_a_daemon_cannot_make_a_client_write_elsewhere(tmp_path: Path, name: str) -> None:
    """The names of a trial's files come from the daemon: one that would lie outside the folder is not written."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)

    def answer(request: httpx.Request) -> httpx.Response:
        body: Any = {"files": [name], "trial": 0}
        return httpx.Response(200, json=body, request=request)

    there = httpx.MockTransport(answer)
    with Client(URL, transport=there) as client, pytest.raises(SearchdError, match="names a file"):
        client.download("x", 0, folder)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["link", "models"]


def test_a_worker_reads_and_writes_below_its_root(tmp_path: Path) -> None:
    """A job may name any folder and any checkpoint: outside it is refused, links followed."""
    root = tmp_path / "artifacts"
    (root / "s").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"x")
    (root / "s" / "link").symlink_to(tmp_path)
    for wanted in ("/etc", "../elsewhere", "s/../../x", "s/link"):
        with pytest.raises(SearchdError, match="outside"):
            artifact_root(wanted, str(root))
    assert artifact_root("s", str(root)) == str((root / "s").resolve())
    checkpoints = Checkpoints(root / "s", 0, 1)
    for path in ("../../secret", str(tmp_path / "secret"), "link/secret"):
        with pytest.raises(Corrupt, match="outside"):
            checkpoints.locate(CheckpointRef(step=1, path=path, sha256="0" * 64, bytes=1))
