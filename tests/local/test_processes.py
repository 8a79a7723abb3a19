"""The family of processes behind `searchd run`: restarted when they die, ended in order, never orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from searchd.errors import SearchdError
from searchd.processes import ECHO_S, Family, Interrupted, Member, Signals, listening

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]


def wait_for(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def up(member: Member) -> bool:
    return member.log.exists() and "up" in member.log.read_text()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_member_is_started_again(tmp_path: Path) -> None:
    """A member that was killed comes back with another pid, and a person hears of it once."""
    heard: list[str] = []
    family = Family(tell=heard.append)
    member = family.add(Member("sleeper", SLEEP, tmp_path / "log", end_s=5))
    try:
        wait_for(lambda: up(member))
        first = member.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: member.pid is None)
        wait_for(lambda: (family.tend(), member.pid is not None)[1])
        assert member.pid != first
        assert heard == ["the sleeper was killed (SIGKILL); starting it again"]
    finally:
        family.end()


def test_end_leaves_nothing_behind(tmp_path: Path) -> None:
    """After `end` neither a member nor a child of it that ignores SIGTERM is alive."""
    stubborn = (
        "import signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        " signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print('up', child.pid, flush=True); time.sleep(600)\n"
    )
    family = Family(tell=lambda _: None)
    member = family.add(Member("stubborn", [sys.executable, "-c", stubborn], tmp_path / "log", end_s=5))
    wait_for(lambda: up(member))
    pid, child = member.pid, int(member.log.read_text().split()[1])
    family.end()
    assert pid is not None
    wait_for(lambda: gone(pid) and gone(child))


def test_members_end_in_reverse_order(tmp_path: Path) -> None:
    """The last one started ends first, each before the next is asked: the broker outlives the workers."""
    order = tmp_path / "order"
    family = Family(tell=lambda _: None)
    for name in ("first", "second", "third"):
        code = (
            "import signal, sys, time\n"
            f"def bye(*_):\n open({str(order)!r}, 'a').write('{name} '); sys.exit()\n"
            "signal.signal(15, bye); print('up', flush=True)\ntime.sleep(600)\n"
        )
        member = family.add(Member(name, [sys.executable, "-c", code], tmp_path / name, end_s=5))
        wait_for(lambda m=member: up(m))
    family.end()
    assert order.read_text().split() == ["third", "second", "first"]


def test_one_that_cannot_live_is_given_up(tmp_path: Path) -> None:
    """A member that dies young again and again ends the run, with the end of its log in the message."""
    family = Family(tell=lambda _: None)
    family.add(Member("daemon", [sys.executable, "-c", "raise SystemExit('no such database')"], tmp_path / "log", 5))

    def tend_until_it_gives_up() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            family.tend()
            for member in family.members:
                member.due = min(member.due, time.monotonic()) if member.due else 0.0  # no waiting in a test
            time.sleep(0.01)

    with pytest.raises(SearchdError, match=r"(?s)the daemon ended with code 1 5 times in a row.*no such database"):
        tend_until_it_gives_up()
    family.end()


def test_one_that_refuses_is_not_tried_again(tmp_path: Path) -> None:
    """Exit code 2 is a refusal: the run ends at once with the last line that the member said."""
    refuse = "import sys; print('no such option'); sys.exit(2)"
    family = Family(tell=lambda _: None)
    member = family.add(Member("daemon", [sys.executable, "-c", refuse], tmp_path / "log", 5))
    wait_for(lambda: member.pid is None)
    with pytest.raises(SearchdError, match="the daemon refuses to run: no such option"):
        family.tend()
    family.end()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a watchdog does it, within half a second")
def test_members_die_with_a_killed_starter(tmp_path: Path) -> None:
    """`kill -9` of the process that holds the family takes every member with it."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom searchd.processes import Family, Member\n"
        "f = Family(tell=print)\n"
        f"m = f.add(Member('sleeper', {SLEEP!r}, Path({str(tmp_path / 'log')!r}), 5))\n"
        "print(m.pid, flush=True)\ntime.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout:
        pid = int(starter.stdout.readline())
    wait_for(lambda: (tmp_path / "log").exists() and "up" in (tmp_path / "log").read_text())
    starter.kill()
    starter.wait()
    wait_for(lambda: gone(pid))


def test_signals_are_counted_not_fatal() -> None:
    """SIGINT and SIGTERM ask for an end, a second one for haste; afterwards the old handlers are back."""
    before = signal.getsignal(signal.SIGTERM)
    with listening() as heard:
        heard.check()
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(lambda: heard.count == 1)
        assert not heard.twice()
        with pytest.raises(Interrupted):
            heard.check()
        time.sleep(ECHO_S)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(heard.twice)
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_wish_to_end_that_arrives_twice_is_one() -> None:
    """`make` passes on the SIGTERM that its group got already: that must not cut the clean end short."""
    heard = Signals()
    heard.hear(signal.SIGTERM, 10.0)
    heard.hear(signal.SIGTERM, 10.0 + ECHO_S / 2)
    assert heard.count == 1
    heard.hear(signal.SIGINT, 12.0)
    assert heard.twice()
