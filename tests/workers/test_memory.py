"""What the kernel says of memory, what a job held, and what of its output is kept."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from searchd.views.captured import log_name
from searchd.wire import JobSpec
from workers.captured import HEAD_BYTES, TAIL_BYTES, Capture, Pump, path_of
from workers.memory import Peak, groups, host_bytes, oom_kills, resident, tree

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's files are Linux's")


@pytest.mark.parametrize(("line", "base", "file", "text"), [
    ("0::/jobs/a", "", "memory.events", "low 0\noom 3\noom_kill 2\n"),
    ("4:memory:/jobs/a", "memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
])  # fmt: skip
def test_kills_are_counted_in_both_versions(tmp_path: Path, line: str, base: str, file: str, text: str) -> None:
    """The process's own group is read, a group above it only for its limit."""
    inner = tmp_path / base / "jobs" / "a"
    inner.mkdir(parents=True)
    (inner / file).write_text(text)
    (inner.parent / file).write_text(text.replace("oom_kill 2", "oom_kill 9"))
    (inner.parent / ("memory.limit_in_bytes" if base else "memory.max")).write_text(f"{64 * MIB}\n")
    (inner / ("memory.limit_in_bytes" if base else "memory.max")).write_text("max\n")
    found = groups(f"9:pids:/\n{line}\n", tmp_path)
    assert found[0] == inner
    assert oom_kills(found) == 2
    assert host_bytes(found) == 64 * MIB


def test_no_group_is_no_error(tmp_path: Path) -> None:
    """Where there are no such files nothing is known."""
    assert groups("0::/x\n", tmp_path) == []
    assert oom_kills([]) == 0


@linux
def test_a_tree_is_weighed_and_a_peak_set_back() -> None:
    """Children count; the high-water mark begins anew with each job."""
    code = "x = bytearray(80 << 20); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        pids = tree(os.getpid())
        assert child.pid in pids
        assert resident({child.pid}) > 80 * MIB
        child.kill()
    peak = Peak()
    held = bytearray(120 * MIB)
    high = peak.bytes()
    del held
    peak.begin()
    assert high is not None
    assert (peak.bytes() or 0) < high - 100 * MIB


def test_a_flood_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    """A long output has its head, a line that says how much is missing, and its tail; a short one is whole."""
    path = tmp_path / "trials" / "0" / "log.txt"
    capture = Capture(path)
    capture.take(b"first\n")
    for n in range(3000):
        capture.take(b"%07d" % n + b"x" * 1016 + b"\n")
    capture.close()
    kept = path.read_bytes()
    assert HEAD_BYTES + TAIL_BYTES <= len(kept) < HEAD_BYTES + TAIL_BYTES + 3000
    assert kept.startswith(b"first\n")
    assert b"0002999x" in kept[-1100:]
    dropped = int(kept.split(b"[... ")[1].split()[0])
    assert dropped + len(kept) - len(b"\n[... %d bytes were dropped here ...]\n" % dropped) == 6 + 3000 * 1024


def test_output_belongs_to_the_job_that_printed_it(tmp_path: Path) -> None:
    """What is in the pipe when a job ends is its own, and the next job's file begins after it."""
    source, sink = os.pipe()
    echo = os.open(os.devnull, os.O_WRONLY)
    pump = Pump(source, echo)
    for n in range(20):
        pump.begin(tmp_path / f"{n}.txt")
        os.write(sink, b"job %d\n" % n)
    pump.begin(None)
    os.close(sink)
    pump.end()
    os.close(echo)
    for n in range(20):
        assert (tmp_path / f"{n}.txt").read_text() == f"job {n}\n"


def test_the_worker_writes_where_the_view_reads(tmp_path: Path) -> None:
    """Both name a job's file alike; a folder that the worker may not write in gets none."""
    spec = JobSpec(id="toy-1-2-train3", study="toy-1", trial=2, attempt=4, kind="train", config={}, task={},
                   artifacts=str(tmp_path / "a"))  # fmt: skip
    assert path_of(spec, None) == tmp_path / "a" / "trials" / "2" / log_name(spec.id, spec.attempt)
    assert path_of(spec, str(tmp_path / "b")) is None


def test_a_pump_outlives_silence(tmp_path: Path) -> None:
    """A child that says nothing for a while is heard when it does."""
    source, sink = os.pipe()
    echo = os.open(os.devnull, os.O_WRONLY)
    pump = Pump(source, echo)
    pump.begin(tmp_path / "a.txt")
    time.sleep(0.05)
    os.write(sink, b"late")
    os.close(sink)
    pump.end()
    os.close(echo)
    assert (tmp_path / "a.txt").read_text() == "late"
