"""Commands from other threads run in the loop's thread, and their answers and refusals come back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from searchd.desk import Desk
from searchd.errors import NotFound, Unreachable
from tests.support.world import World, spec


def test_commands_of_many_threads_run_in_the_loop(world: World) -> None:
    """Each command is done between two rounds, in one thread, and answers its caller."""
    desk = Desk(world.loop)
    threads: set[int] = set()
    submit = world.loop.submit

    def watched(study: Any, artifacts: str | None = None) -> str:
        threads.add(threading.get_ident())
        return submit(study, artifacts)

    world.loop.submit = watched  # type: ignore[method-assign]
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(desk.submit, spec(study=f"s{i}"), f"s{i}") for i in range(8)]
        served = 0
        while served < 8:
            served += desk.serve()
            time.sleep(0.001)
        studies = [w.result() for w in waiting]
        assert threads == {threading.get_ident()}
        assert len(set(studies)) == 8
        refused = pool.submit(desk.pause, "nobody")
        while not desk.serve():
            time.sleep(0.001)
        with pytest.raises(NotFound, match="nobody"):
            refused.result()
    assert sorted(world.loop.active()) == sorted(studies)


def test_every_command_reaches_the_engine(world: World) -> None:
    """submit, pause, resume, inject, extend, stop_trial and stop do through the desk what they do in the loop."""
    desk = Desk(world.loop)

    def do(call: Any, *args: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(call, *args)
            while not desk.serve():
                time.sleep(0.001)
            return answer.result()

    study = do(desk.submit, spec())
    do(desk.pause, study)
    assert world.loop.status(study) == "paused"
    do(desk.resume, study)
    assert do(desk.inject, study, {"x": 0.1, "k": 1}) == 0
    do(desk.extend, study, {"trials": 2})
    do(desk.stop_trial, study, 0)
    do(desk.stop, study)
    assert world.run(study) == "stopped"
    assert world.replay(study).equal


def test_a_closed_desk_refuses(world: World) -> None:
    """When the daemon ends, whoever waits is told to try again."""
    desk = Desk(world.loop)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(desk.pause, "s")
        time.sleep(0.02)
        desk.close()
        with pytest.raises(Unreachable, match="stopping"):
            waiting.result(5)
    with pytest.raises(Unreachable, match="stopping"):
        desk.pause("s")
