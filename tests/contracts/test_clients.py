"""One contract for the client, over a daemon (HTTP) and over a folder: the same questions, the same answers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd import Client
from searchd.errors import BadSetting, NotFound, SearchdError, Unreachable
from tests.support.app import URL, Asgi, reading_app
from tests.support.study_db import Written, write_study


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    study = write_study(tmp_path_factory.mktemp("out") / "digits", trials=20)
    yield study
    study.close()


def over_http(written: Written) -> Client:
    return Client(URL, transport=Asgi(reading_app(written.store, now=time.time())))


def over_folder(written: Written) -> Client:
    return Client(root=written.folder.parent)


@pytest.fixture(params=[over_http, over_folder], ids=["http", "folder"])
def client(request: pytest.FixtureRequest, written: Written) -> Iterator[Client]:
    with request.param(written) as made:
        yield made


def test_both_backends_answer_the_same(written: Written) -> None:
    """Every read gives the same JSON over HTTP and from the folder."""
    with over_http(written) as a, over_folder(written) as b:
        for ask in (
            lambda c: c.studies(), lambda c: c.show("digits"), lambda c: c.spec("digits"), lambda c: c.front("digits"),
            lambda c: c.trials("digits"), lambda c: c.trial("digits", 2), lambda c: c.curves("digits"),
            lambda c: c.curves("digits", "bytes"), lambda c: c.rungs("digits"), lambda c: c.log("digits"),
            lambda c: c.log("digits", after=7, limit=5), lambda c: list(c.watch("digits", after=12)),
            lambda c: c.show(written.id),
        ):  # fmt: skip
            assert ask(a) == json.loads(json.dumps(ask(b)))


@pytest.mark.parametrize("name", ["nosuch", "digit", ""])
def test_an_unknown_study_is_not_found(client: Client, name: str) -> None:
    """A study that is not there is NotFound, never an empty answer."""
    with pytest.raises(NotFound):
        client.show(name)


def test_an_unknown_trial_is_not_found(client: Client) -> None:
    """A trial that is not there is NotFound."""
    with pytest.raises(NotFound):
        client.trial("digits", 999)


def test_the_front_as_a_frame(client: Client) -> None:
    """On request the front is a DataFrame: a row a point, metrics by name, the config as `config.NAME`."""
    frame = client.front("digits", frame=True)
    points = client.front("digits")
    assert len(frame) == len(points) > 0
    assert {"trial", "point", "step", "val_error", "config.width"} <= set(frame.columns)
    assert list(frame["val_error"]) == [p["metrics"]["val_error"] for p in points]
    assert len(client.trials("digits", frame=True)) == len(client.trials("digits"))


def test_watch_gives_every_entry_once_and_ends(client: Client) -> None:
    """The feed of an ended study is its log, whole, in order, and then it is over."""
    seqs = [e["seq"] for e in client.watch("digits")]
    assert seqs == list(range(1, len(seqs) + 1))
    assert seqs == [e["seq"] for e in client.log("digits")]


def test_wait_answers_at_once_when_it_is_over(client: Client) -> None:
    """Waiting for an ended study answers its summary."""
    assert client.wait("digits", timeout_s=5)["status"] == "done"


def test_download_copies_every_file(client: Client, written: Written, tmp_path: Path) -> None:
    """A front trial's files arrive byte for byte, its checkpoints on request; a trial without files says so."""
    trial = next(p["trial"] for p in client.front("digits") if client.trial("digits", p["trial"])["files"])
    files = client.download("digits", trial, tmp_path / "model")
    names = client.trial("digits", trial)["files"]
    assert [f.name for f in files] == [n for n in names if not n.startswith("ckpt-")]
    whole = client.download("digits", trial, tmp_path / "model", checkpoints=True)
    assert [f.name for f in whole] == names
    for file in whole:
        source = written.folder / "trials" / str(trial) / file.relative_to(tmp_path / "model")
        assert file.read_bytes() == source.read_bytes()
    bare = next(t["trial"] for t in client.trials("digits") if not client.trial("digits", t["trial"])["files"])
    with pytest.raises(NotFound, match="no files"):
        client.download("digits", bare, tmp_path / "none")


def test_a_bad_study_is_refused_before_it_is_sent(client: Client) -> None:
    """`submit` reads the study here: its mistakes are StudyErrors with every problem, whoever would run it."""
    with pytest.raises(SearchdError, match="objectives"):
        client.submit({"study": "x", "space": {"a": {"float": [0, 1]}}, "task": "classify"})


class TestFolder:
    """What only the folder backend has to do."""

    def test_a_study_is_found_by_path_too(self, written: Written, tmp_path: Path) -> None:
        """STUDY may be the folder itself, wherever the root is."""
        with Client(root=tmp_path) as client:
            assert client.show(str(written.folder))["id"] == written.id

    def test_changes_need_a_daemon(self, written: Written) -> None:
        """Without a live daemon a command is Unreachable, and the message says how to get one."""
        with over_folder(written) as client:
            for change in (client.pause, client.resume, client.stop):
                with pytest.raises(Unreachable, match="searchd run"):
                    change("digits")
            assert client.alive("digits") is False
            assert client.workers() == []

    def test_a_dead_daemons_state_file_is_no_daemon(self, written: Written) -> None:
        """A state file that a killed daemon left behind does not mislead: nobody answers, so there is none."""
        state = written.folder / "daemon.json"
        state.write_text(json.dumps({"url": "http://127.0.0.1:9", "pid": 2**22 + 1, "token": "t"}))
        try:
            with over_folder(written) as client, pytest.raises(Unreachable):
                client.pause("digits")
        finally:
            state.unlink()

    def test_a_fresh_database_is_noticed(self, tmp_path: Path) -> None:
        """When a run starts anew (`--fresh`) a client that was open reads the new file, not the old one."""
        with Client(root=tmp_path) as client:
            first = write_study(tmp_path / "a", name="a", trials=4)
            assert client.show("a")["trials"]["total"] == 4
            first.close()
            for file in (tmp_path / "a").glob("study.db*"):
                file.unlink()
            with contextlib.closing(write_study(tmp_path / "a", name="a", trials=6)):
                assert client.show("a")["trials"]["total"] == 6

    def test_no_folder_is_said(self, tmp_path: Path) -> None:
        """A root that is not there is a clear NotFound."""
        with Client(root=tmp_path / "none") as client:
            assert client.studies() == []
            with pytest.raises(NotFound, match="--root"):
                client.show("digits")

    def test_a_study_under_way_is_read_while_it_is_written(self, tmp_path: Path) -> None:
        """The folder of a running study answers between the writer's transactions."""
        running = write_study(tmp_path / "live", name="live", trials=10, upto=15)
        with contextlib.closing(running), Client(root=tmp_path) as client:
            before = len(client.log("live"))
            running.play(10)
            assert len(client.log("live")) > before
            assert client.show("live")["status"] == "running"


def test_nobody_there_is_unreachable() -> None:
    """A URL where nothing listens is Unreachable, what is no URL a BadSetting; both have it in the message."""
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.studies()
    with pytest.raises(BadSetting, match="nonsense"):
        Client("nonsense")


def test_a_wrong_token_is_refused(written: Written) -> None:
    """The daemon's 401 reaches the caller as what it is."""
    app = reading_app(written.store, token="right")
    with Client(URL, "wrong", transport=Asgi(app)) as client, pytest.raises(SearchdError, match="token"):
        client.studies()
    with Client(URL, "right", transport=Asgi(app)) as client:
        assert client.studies()


def test_the_token_comes_from_the_environment_too(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEARCHD_TOKEN_FILE holds the token of a client that is given none; one that cannot be sent is said, not shown."""
    app = reading_app(written.store, token="right")
    (tmp_path / "token").write_text("right\n")
    monkeypatch.setenv("SEARCHD_TOKEN_FILE", str(tmp_path / "token"))
    with Client(URL, transport=Asgi(app)) as client:
        assert client.studies()
    (tmp_path / "token").write_text("sécret\n")
    with pytest.raises(BadSetting, match="ASCII") as e:
        Client(URL)
    assert "cret" not in str(e.value)


def test_the_environment_names_the_place(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEARCHD_URL sends an unnamed client to a daemon, SEARCHD_ROOT to a folder; a root that is given wins."""
    monkeypatch.setenv("SEARCHD_ROOT", str(written.folder.parent))
    with Client() as client:
        assert client.show("digits")["id"] == written.id
    monkeypatch.setenv("SEARCHD_URL", "http://127.0.0.1:9")
    with Client(root=written.folder.parent) as client:
        assert client.show("digits")["id"] == written.id
    with Client() as client, pytest.raises(Unreachable):
        client.show("digits")
