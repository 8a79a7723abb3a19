"""Every storage keeps the same promises: a folder, an object store over the S3 protocol, a store in memory, and a file
system that is reached through fsspec and whose writes must be moved into place."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.errors import BadSetting, Missing
from searchd.storage import Storage, StorageGone, open_storage, remote
from searchd.storage.remote import RemoteStorage, within
from tests.support.s3 import NO_S3, S3, have_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture(params=[
    "folder", "memory", "moved", pytest.param("s3", marks=pytest.mark.skipif(not have_s3(), reason=NO_S3)),
])  # fmt: skip
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    match request.param:
        case "folder":
            return open_storage(str(tmp_path / "art"))
        case "memory":
            return open_storage(f"memory://{uuid.uuid4().hex}/art")
        case "moved":
            return open_storage(f"local://{tmp_path}/art")
        case _:
            server: S3 = request.getfixturevalue("s3")
            for name, value in server.environ.items():
                monkeypatch.setenv(name, value)
            return open_storage(f"{server.url}/{uuid.uuid4().hex}")


def test_what_is_written_is_read(storage: Storage, tmp_path: Path) -> None:
    """Whole, in pieces and as a local file; a second write takes the first one's place, whatever its length."""
    data = bytes(range(256)) * 5000  # more than one piece
    storage.write("trials/0/ckpt-1.bin", b"old")
    storage.write("trials/0/ckpt-1.bin", data)
    assert storage.read("trials/0/ckpt-1.bin") == data
    assert b"".join(storage.chunks("trials/0/ckpt-1.bin")) == data
    assert storage.local("trials/0/ckpt-1.bin", tmp_path / "scratch").read_bytes() == data
    storage.write("trials/0/empty", b"")
    assert storage.read("trials/0/empty") == b""


@pytest.mark.parametrize("how", [{"durable": False}, {"fresh": True}, {"durable": False, "fresh": True}])
def test_however_it_is_written_it_is_read(storage: Storage, how: dict[str, bool]) -> None:
    """Whole under its name, over what was there, and nothing else is left."""
    for data in (b"first", b"the second"):
        storage.write("trials/0/ckpt-1.bin", data, **how)
        assert storage.read("trials/0/ckpt-1.bin") == data
    assert storage.sizes("trials/0") == {"ckpt-1.bin": 10}


@pytest.mark.parametrize(("how", "flushes"), [({}, 2), ({"fresh": True}, 1), ({"durable": False}, 0)])
def test_what_a_write_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, bool], flushes: int
) -> None:  # fmt: skip
    """A file and its folder; of a fresh one the file alone, which has its name by then; or nothing."""
    named: list[bool] = []
    really = os.fsync

    def fsync(file: int) -> None:
        named.append((tmp_path / "a").exists())
        really(file)

    monkeypatch.setattr(os, "fsync", fsync)
    open_storage(str(tmp_path)).write("a", b"data", **how)
    assert len(named) == flushes
    assert named[:1] == ([bool(how)] if flushes else [])


def test_what_is_there_is_listed(storage: Storage) -> None:
    """Names relative to the folder with their bytes, of sub-folders too; hidden ones are half written and left out."""
    assert storage.sizes("trials/3") == {}
    storage.write("trials/3/model.onnx", b"12345")
    storage.write("trials/3/point-1/card.json", b"{}")
    storage.write("trials/3/.model.tmp", b"half")
    storage.write("trials/33/model.onnx", b"another's")
    assert storage.sizes("trials/3") == {"model.onnx": 5, "point-1/card.json": 2}
    storage.write("trials/3/model.onnx", b"123456789")
    assert storage.sizes("trials/3")["model.onnx"] == 9, "nothing is cached"


def test_what_is_removed_is_gone(storage: Storage, tmp_path: Path) -> None:
    """Once or twice: removing what is not there is no error. Reading it is a FileNotFoundError, in each way."""
    storage.write("trials/0/a", b"a")
    storage.remove("trials/0/a")
    storage.remove("trials/0/a")
    assert "a" not in storage.sizes("trials/0")
    for read in (storage.read, storage.chunks, lambda name: storage.local(name, tmp_path / "scratch")):
        with pytest.raises(FileNotFoundError):
            read("trials/0/a")


def test_nothing_leaves_the_root(storage: Storage) -> None:
    """A name that leads out of it is not there."""
    for name in ("../secret", "trials/../../secret", "/etc/passwd"):
        with pytest.raises(FileNotFoundError):
            storage.read(name)
        with pytest.raises(FileNotFoundError):
            storage.write(name, b"")


def test_a_probe_leaves_nothing(storage: Storage) -> None:
    """It writes, and removes what it wrote."""
    storage.probe()
    storage.write("trials/0/a", b"a")
    assert list(storage.sizes("")) == ["trials/0/a"]


def test_a_write_that_ends_midway_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the bytes and the rename: in a folder, and where fsspec moves into place."""
    for root in (str(tmp_path / "a"), f"local://{tmp_path}/b"):
        storage = open_storage(root)
        storage.write("f", b"old")
        with monkeypatch.context() as broken:
            broken.setattr(Path, "replace", _crash)
            broken.setattr("fsspec.implementations.local.LocalFileSystem.mv", _crash)
            with pytest.raises(StorageGone, match=r"cannot be written|does not answer"):
                storage.write("f", b"new and longer")
        assert storage.read("f") == b"old"
        assert list(storage.sizes("")) == ["f"]


def _crash(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_that_is_full_is_gone_and_no_fault_of_who_writes() -> None:
    """What the disk refuses is a StorageGone that names the folder, the file and the reason."""
    if not Path("/proc/sys").exists():
        pytest.skip("needs a folder that takes no file even from root: Linux's /proc/sys")
    with pytest.raises(StorageGone, match=r"/proc/sys.*a cannot be written"):
        open_storage("/proc/sys").write("a", b"")


@pytest.mark.skipif(not have_s3(), reason=NO_S3)
def test_a_server_that_hangs_is_given_up(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the deadline, with the URL and what was wanted, and without a key; it is used again once it answers."""
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    storage = RemoteStorage(f"{s3.url}/hang", deadline_s=10.0)
    storage.write("a", b"1")
    storage.deadline_s = 1.0
    s3.pause()
    try:
        with pytest.raises(StorageGone, match=r"did not answer within 1 s \(write b\)") as told:
            storage.write("b", b"2")
        assert s3.url in str(told.value)
        assert "test-secret" not in str(told.value)
    finally:
        s3.go_on()
    storage.deadline_s = 30.0
    assert storage.read("a") == b"1"


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is a StorageGone too, and not an endless retry."""
    if not have_s3():
        pytest.skip(NO_S3)
    for name, value in {**S3().environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageGone, match="s3://nowhere"):
        RemoteStorage("s3://nowhere/x", deadline_s=20.0).sizes("trials/0")
    s3fs.S3FileSystem.clear_instance_cache()


def test_what_cannot_be_a_storage() -> None:
    """A URL with a password would be recorded; a protocol that nobody knows, or whose package is missing, is named."""
    with pytest.raises(BadSetting, match="must hold no key") as told:
        open_storage("s3://me:s3cret@bucket/prefix")
    assert "s3cret" not in str(told.value)
    with pytest.raises(Missing, match="bogus"):
        open_storage("bogus://a/b").sizes("")
    assert [remote(root) for root in ("out", "/srv/art", "s3://b/p", "memory://x")] == [False, False, True, True]


def test_a_call_that_is_given_up_hands_its_errors_over() -> None:
    """`within`: the answer, the error, or TimeoutError."""
    assert within(5.0, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 // 0)
