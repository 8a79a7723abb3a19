"""The kinds of fault. Each does its harm and answers when the harm was over (Unix seconds): from then on it is up to
the fleet."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import psutil

from tests.crash.services import SIGNALS
from tests.crash.world import Ward, World

WHO = ("child", "slot", "supervisor", "daemon")
NOBODY = -1.0
"""There was nothing that the fault could have been done to."""
REFUSED = 2
Do = Callable[[World, Random], float]


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    do: Do
    weight: int = 1
    databases: tuple[str, ...] = ("sqlite", "postgres")


def targets(world: World, who: str) -> list[psutil.Process]:
    """The processes of a kind that live now."""
    match who:
        case "child":
            return world.named("workers.child")
        case "slot":
            return world.named("workers.app")
        case "supervisor":
            wards = world.workers
        case _:
            wards = [world.daemon]
    found = []
    for ward in wards:
        with contextlib.suppress(psutil.Error):
            if ward.pid is not None:
                found.append(psutil.Process(ward.pid))
    return found


def signalled(who: str, name: str) -> Do:
    """SIGKILL, SIGTERM, or SIGSTOP and after a while SIGCONT: half of the time longer than a lease."""

    def do(world: World, rng: Random) -> float:
        found = sorted(targets(world, who), key=lambda p: p.pid)
        if not found:
            return NOBODY
        victim = rng.choice(found)
        world.signal(victim, SIGNALS[name])
        if name == "STOP":
            time.sleep(rng.choice((rng.uniform(0.2, 1.5), world.lease_s + rng.uniform(1.0, 2.5))))
            with contextlib.suppress(psutil.Error):
                victim.resume()
        return time.time()

    return do


def cut(which: str) -> Do:
    """Every connection is reset, up to three times."""

    def do(world: World, rng: Random) -> float:
        link = world.broker.link if which == "broker" else world.database.link
        assert link is not None
        for _ in range(rng.randint(1, 3)):
            link.cut()
            time.sleep(rng.uniform(0.0, 0.4))
        return time.time()

    return do


def frozen(which: str) -> Do:
    """Nothing goes through for a while, then all of it at once; half of the time the connections are cut instead."""

    def do(world: World, rng: Random) -> float:
        link = world.broker.link if which == "broker" else world.database.link
        assert link is not None
        link.freeze()
        time.sleep(rng.uniform(0.3, world.lease_s + 2.0))
        link.thaw()
        if rng.random() < 0.5:
            link.cut()
        return time.time()

    return do


def full(world: World, rng: Random) -> float:
    """No space left for anybody, and then there is again."""
    world.disk.fill(world.family())
    time.sleep(rng.uniform(0.5, 4.0))
    world.disk.empty(world.family())
    return time.time()


def broker_killed(world: World, rng: Random) -> float:
    world.broker.kill()
    time.sleep(rng.choice((0.0, rng.uniform(0.1, 1.0), world.lease_s + 1.0)))
    world.broker.start()
    return time.time()


def database_disturbed(world: World, rng: Random) -> float:
    world.database.disturb(rng.choice((0.0, rng.uniform(0.2, 2.0), world.lease_s + 1.0)))
    return time.time()


def second_daemon(world: World, rng: Random) -> float:
    """Another daemon beside the one that runs, or two at once where none does: exactly one may go on."""
    daemon = world.daemon
    other = Ward("second", daemon.argv, daemon.env, daemon.log.with_name("second.log"))
    other.argv = [str(world.folder / "second.json") if a == str(world.state) else a for a in daemon.argv]
    if rng.random() < 0.5 and daemon.pid is not None:
        psutil.Process(daemon.pid).kill()
        world.until(lambda: daemon.pid, "the policy starts the daemon again", 30)
        process = other.start()
    else:
        process = other.start()
    deadline = time.monotonic() + 60
    while process.poll() is None and daemon.pid is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.poll() is None:  # it was the first: the one under the policy was refused, and takes over from it
        process.terminate()
        process.wait(30)
        return time.time()
    if process.returncode != REFUSED:
        raise AssertionError(f"a second daemon ended with {process.returncode}, not {REFUSED}; see {other.log}")
    return time.time()


def was_ending(log: str, pid: int) -> bool:
    """Whether the daemon of this process was asked to end: a SIGTERM of the fault before was still on its way when it
    was stopped. No other one is signalled meanwhile."""
    _, ready, since = log.rpartition(f"pid {pid}, database")
    return bool(ready) and "ending on SIGTERM" in since


def usurped(world: World, rng: Random) -> float:
    """The daemon is stopped, its lock is gone, another one begins; then the first goes on: it must end by itself."""
    daemon = world.daemon
    if daemon.pid is None or not world.ready():
        return NOBODY
    world.hold([daemon], True)
    try:
        first = daemon.process
        assert first is not None
        for _ in range(100):
            psutil.Process(first.pid).suspend()
            if world.database.unlock():
                break
            psutil.Process(first.pid).resume()
            time.sleep(0.02)
        else:
            return NOBODY
        daemon.start()
        world.until(world.ready, "the daemon that took over is ready", 60)
        time.sleep(rng.uniform(0.0, 2.0))
        psutil.Process(first.pid).resume()
        at = time.time()
        try:
            code = first.wait(30)
        except subprocess.TimeoutExpired:
            first.kill()
            raise AssertionError("a daemon whose lock another one has goes on for 30 s") from None
        if code not in (2, 4) and not (code == 0 and was_ending(daemon.log.read_text(errors="replace"), first.pid)):
            raise AssertionError(f"a daemon whose lock another one has ended with code {code}, not 2")
        return at
    finally:
        world.hold([daemon], False)


KINDS = (
    *(Kind(f"SIG{name} {who}", signalled(who, name), 2 if who != "supervisor" else 1) for who in WHO
      for name in SIGNALS),
    Kind("connections to the broker reset", cut("broker"), 2),
    Kind("network to the broker frozen", frozen("broker"), 2),
    Kind("connections to the database reset", cut("database"), 2, ("postgres",)),
    Kind("network to the database frozen", frozen("database"), 2, ("postgres",)),
    Kind("disk full", full, 2),
    Kind("broker killed, restarted from its file", broker_killed, 2),
    Kind("database server crashed", database_disturbed, 2, ("postgres",)),
    Kind("database locked by another process", database_disturbed, 2, ("sqlite",)),
    Kind("second daemon", second_daemon),
    Kind("daemon without its lock", usurped),
)  # fmt: skip
