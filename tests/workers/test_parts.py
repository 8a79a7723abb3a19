"""The small parts of a worker: devices, pipes, tethers, allow-lists, where files may go, what a child imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from searchd.errors import NotFound, Refused
from searchd.refusals import LONGEST
from tests.support.broker import Broker
from workers.device import THREADS, device
from workers.job import explain
from workers.pipes import Gone, Pipes
from workers.place import artifact_root
from workers.tasks import resolve
from workers.tasks.command import fill
from workers.tasks.function import allowed, load
from workers.tether import tied

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "slot", "device_class", "index"),
    [("cpu", 5, "cpu", None), ("cuda", 1, "cuda", 1), ("cuda:3", 1, "cuda", 3), ("rig", 1, "rig", None),
     ("rig=cuda:2", 0, "rig", 2), ("rig=cuda", 4, "rig", 4)],
)  # fmt: skip
def test_devices(name: str, slot: int, device_class: str, index: int | None) -> None:
    """A name gives a queue and an accelerator; each slot of `cuda` has its own."""
    found = device(name, slot)
    assert (found.device_class, found.index) == (device_class, index)
    assert found.identity.startswith(f"{device_class} · ")
    assert found.environment(None).get("CUDA_VISIBLE_DEVICES") == (None if index is None else str(index))


@pytest.mark.parametrize("name", ["", "cpu:0", "rig=tpu", "a b", "cuda:x"])
def test_a_device_that_is_none(name: str) -> None:
    """An unknown device is refused with the names that there are."""
    with pytest.raises(Refused, match="say cpu, cuda"):
        device(name)


def test_a_job_on_a_cpu_gets_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots share the processor; the user's own setting, or `--threads`, wins."""
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    assert device("cpu").environment(None)["OMP_NUM_THREADS"] == "1"
    assert device("cpu").environment(4)["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in device("cpu").environment(None)


def pipes() -> tuple[Pipes, Pipes]:
    a_read, a_write = os.pipe()
    b_read, b_write = os.pipe()
    return Pipes(a_read, b_write), Pipes(b_read, a_write)


def test_pipes_keep_messages_whole() -> None:
    """Long and short messages arrive whole and in order, however they are cut on the way."""
    here, there = pipes()
    messages = [{"n": i, "text": "ä" * size} for i, size in enumerate([0, 1, 70_000, 3, 300_000])]
    sender = threading.Thread(target=lambda: [here.send(m) for m in messages])
    sender.start()
    got: list[object] = []
    while len(got) < len(messages):
        got += there.receive(5.0)
    sender.join()
    assert got == messages
    assert there.receive(0.0) == []
    here.close()
    with pytest.raises(Gone):
        there.receive(1.0)
    with pytest.raises(Gone):
        there.send({})
    there.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties processes on Linux")
def test_a_tied_program_dies_with_its_starter() -> None:
    """kill -9 of the starter ends a foreign program that knows nothing of it."""
    code = (
        "import subprocess, sys, time; sys.path.insert(0, sys.argv[1]); from workers.tether import tied; "
        "p = subprocess.Popen(tied(['sleep', '60'])); print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(ROOT)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        command = Path(f"/proc/{pid}/cmdline")
        deadline = time.monotonic() + 10
        while b"sleep" not in command.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(starter.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while command.exists() and command.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not command.exists() or not command.read_bytes()


def test_a_program_that_is_not_there() -> None:
    """A tied program that does not exist says so in one line."""
    done = subprocess.run(tied(["/no/such/program"]), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "/no/such/program: No such file or directory")


@pytest.mark.parametrize(
    ("name", "allow", "yes"),
    [("p.m:f", ("p.m:f",), True), ("p.m:f", ("p.*",), True), ("p.m:f", ("p.m:*",), True), ("p.m:f", (), False),
     ("p.m:f", ("p.m:g", "q.*"), False), ("pp.m:f", ("p.*",), False), ("p.m:F", ("p.m:f",), False)],
)  # fmt: skip
def test_the_allow_list(name: str, allow: tuple[str, ...], yes: bool) -> None:
    """A function is allowed by its exact name or a pattern, and by nothing else."""
    assert allowed(name, allow) is yes


@pytest.mark.parametrize(
    ("name", "text"),
    [("no_such_module:f", "module no_such_module"), ("json.nothing:f", "module json.nothing"),
     ("json:nothing", "has no function nothing; it has .*dumps"), ("json", "package.module:function")],
)  # fmt: skip
def test_a_function_that_is_not_there(name: str, text: str) -> None:
    """Module, attribute and spelling mistakes each say what is missing."""
    error = Refused if ":" in name else NotFound  # another worker may have it; that is no name anywhere
    with pytest.raises(error, match=text):
        load(name, ("*",))


@pytest.mark.parametrize(
    ("line", "said"),
    [("import a_package_that_is_missing", "No module named 'a_package_that_is_missing'"),
     ("from json import nothing_like_it", "cannot import name 'nothing_like_it' from 'json'"),
     ("raise ImportError('\\n\\nIMPORTANT: read\\n\\nthis')", "IMPORTANT: read this (needy"),
     (f"raise ImportError({'long ' * 100!r})", "long long long"), ("raise ImportError", "its import failed (needy")],
)  # fmt: skip
def test_what_a_users_module_imports_may_be_elsewhere(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that lacks what the module imports refuses, and says which line of which file wants it."""
    (tmp_path / "needy_user_module.py").write_text(f"import json\n{line}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Refused) as told:
        load("needy_user_module:f", ("*",))
    assert str(told.value).startswith(
        f"module needy_user_module of task needy_user_module:f cannot be imported by this worker: {said}"
    )
    assert "(needy_user_module.py, line 2); install what it needs there" in str(told.value)
    assert len(str(told.value).splitlines()[0]) == len(str(told.value)) <= LONGEST, "all of it is kept"


def test_other_errors_of_a_users_module_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised as the module runs goes on, with its traceback: no other worker would do better."""
    (tmp_path / "wrong_user_module.py").write_text("x = 1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        load("wrong_user_module:f", ("*",))


@pytest.mark.parametrize(
    ("entries", "yes"),
    [(("command",), True), (("command:tool",), True), (("command:t*",), True), (("*",), False), (("command:x",), False),
     (("command*",), False)],
)  # fmt: skip
def test_commands_need_an_entry_of_their_own(entries: tuple[str, ...], yes: bool) -> None:
    """Leave to call any function is no leave to start programs."""
    task = {"kind": "command", "argv": ["tool", "-x"]}
    if yes:
        assert resolve(task, entries).name == "command"
    else:
        with pytest.raises(Refused, match="--allow command:tool"):
            resolve(task, entries)


def test_filling_a_command() -> None:
    """Names in braces are filled in, other braces stay, an unknown name is refused."""
    flat = {"lr": 0.1, "optimizer.sgd.lr": 0.2}
    argv = ["{lr}", "--x={optimizer.sgd.lr}", '{"a": 1}', "{seed}{lr}", "{}"]
    assert fill(argv, {"seed": "3"}, flat) == ["0.1", "--x=0.2", '{"a": 1}', "30.1", "{}"]
    with pytest.raises(NotFound, match="momentum"):
        fill(["{momentum}"], {}, flat)


def test_artifacts_stay_in_their_folder(tmp_path: Path) -> None:
    """With a folder given, a job's files lie in it or the job is refused."""
    inside = str(tmp_path / "in")
    assert artifact_root("study", inside) == f"{inside}/study"
    assert artifact_root(f"{inside}/study", inside) == f"{inside}/study"
    assert artifact_root(str(tmp_path / "out"), None) == str(tmp_path / "out")
    assert artifact_root("study", "s3://bucket/p/") == "s3://bucket/p/study"
    assert artifact_root("s3://bucket/p/study", "s3://bucket/p") == "s3://bucket/p/study"
    assert artifact_root("s3://bucket/p/study", None) == "s3://bucket/p/study"
    for outside, top in (
        ("../out", inside), (str(tmp_path / "out"), inside), ("s3://bucket/p", inside), ("/etc", "s3://bucket/p"),
        ("s3://bucket/other", "s3://bucket/p"), ("s3://bucket/pp", "s3://bucket/p"), ("../q", "s3://bucket/p"),
        ("s3://bucket/p/../q", "s3://bucket/p"),
    ):  # fmt: skip
        with pytest.raises(Refused, match="same --artifacts"):
            artifact_root(outside, top)


def test_running_out_of_memory_has_its_own_word() -> None:
    """Python's and torch's ways of running out are one reason; other errors are not."""

    class OutOfMemoryError(RuntimeError):
        """As torch names it."""

    assert explain(MemoryError())[0] == "out of memory"
    assert explain(OutOfMemoryError("CUDA out of memory"))[0] == "out of memory"
    assert explain(RuntimeError("DefaultCPUAllocator: can't allocate memory"))[0] == "out of memory"
    assert explain(RuntimeError("shapes"))[0] == "exception"


def test_a_child_starts_light() -> None:
    """The child's start imports neither torch nor NumPy, Celery, Redis, Optuna, SQLAlchemy."""
    code = "import sys, workers.child; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["torch", "numpy", "celery", "redis", "optuna", "sqlalchemy", "onnxruntime", "sklearn"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *heavy], capture_output=True, text=True, check=True, cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def start(*argv: str) -> subprocess.CompletedProcess[str]:
    """The supervisor as a process, until it ends by itself."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SEARCHD_")} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "workers", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=env, timeout=60)


@pytest.mark.parametrize(
    ("argv", "text"),
    [((), "SEARCHD_BROKER"), (("--broker", "unix:///x", "--slots", "0"), "at least 1"),
     (("--broker", "unix:///x", "--device", "cpu:7"), "cpu:7"), (("--broker", "amqp://x"), "redis://")],
)  # fmt: skip
def test_usage(argv: tuple[str, ...], text: str) -> None:
    """Bad usage ends with code 2 and a sentence."""
    done = start(*argv)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_credentials_end_with_a_word(own_broker: Broker) -> None:
    """A broker that refuses us is not waited for: exit code 4, and the password is not shown."""
    with own_broker.client() as client:
        client.config_set("requirepass", "secret")
    done = start("--broker", own_broker.url.replace("unix://", "unix://:wrongpass@"))
    assert done.returncode == 4
    assert "credentials" in done.stderr
    assert "wrongpass" not in done.stderr
    assert "Traceback" not in done.stderr
