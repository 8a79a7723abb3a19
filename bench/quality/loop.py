"""Peers in simulated time: workers on an event heap, the clock is the problem's own, decisions are free on it.

The same protocol as `searchd.simulator`, which runs ours: every step is reported, a pause keeps a checkpoint, ties go
first in, first out; the CPU time of decisions is counted beside.
"""

from __future__ import annotations

import time
from heapq import heappop, heappush
from typing import Any

import numpy as np

from bench.quality.outcome import Outcome, Watch
from bench.quality.peers import Asked, Peer
from bench.quality.spec import Curve, Problem


def run_peer(problem: Problem, peer: Peer, budget: float, workers: int, cap_s: float) -> Outcome:
    """A run until the budget (seconds of simulated time, each worker) or the cap of decision CPU seconds is spent."""
    watch = Watch(problem, budget)
    heap: list[tuple[float, int, Asked, Curve, int, float]] = []
    cpu, order, trials, full, now, cut = 0.0, 0, 0, 0, 0.0, False

    def push(asked: Asked, curve: Curve, step: int, began: float) -> None:
        nonlocal order
        before = float(curve.seconds[asked.since - 1]) if asked.since else 0.0
        heappush(heap, (began + float(curve.seconds[step - 1]) - before, order, asked, curve, step, began))
        order += 1

    idle = workers
    while True:
        while idle:
            began = time.process_time()
            asked = peer.ask()
            cpu += time.process_time() - began
            if asked is None:
                break
            trials += asked.since == 0
            push(asked, problem.curve(asked.values), asked.since + 1, now)
            idle -= 1
        if not heap:
            break
        now, _, asked, curve, step, began = heappop(heap)
        if now > budget:
            break
        if cpu > cap_s:
            cut = True
            break
        watch.see(now, step, curve.losses[step - 1], curve.truth)
        told = _told(problem, curve.losses[step - 1])
        started = time.process_time()
        stop = peer.report(asked.handle, step, told)
        over = stop or step >= asked.until
        if over:
            peer.finish(asked.handle, step, told, stop)
        cpu += time.process_time() - started
        if over:
            idle += 1
            full += step == problem.steps
        else:
            push(asked, curve, step + 1, began)
    return watch.outcome(cpu=cpu, trials=trials, full=full, cut=cut)


def _told(problem: Problem, losses: Any) -> list[float]:
    return [float(x) for x in np.nan_to_num(np.atleast_1d(losses), nan=problem.worst, posinf=problem.worst)]
