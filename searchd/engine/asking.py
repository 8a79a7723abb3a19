"""What runs next: asked of the search while there are free slots and the budget allows; each answer is a jobs row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from searchd.engine.completing import needed
from searchd.engine.measuring import measured_of
from searchd.engine.mind import Hopeless
from searchd.engine.racing import limit_s
from searchd.engine.raising import raised
from searchd.engine.reproducing import given_files, origin, reproduction
from searchd.engine.turn import Turn
from searchd.log import answer_payload
from searchd.search.events import Exhausted, Job, Wait
from searchd.searchers.base import remark_of
from searchd.store.base import DeviceRow, JobRow
from spaces.formulas import TRAIN_ENERGY_J, TRAIN_S
from spaces.kernels import ONNX

OURS = frozenset({TRAIN_S, TRAIN_ENERGY_J})
"""Metrics that a task need not report."""
HOPELESS: Mapping[Hopeless, int] = {"failed": 20, "vetoed": 200}
"""So many trials that failed or were vetoed, and no report ever: the task is broken or allows nothing of the space, and
every further trial would be wasted."""


def ask(turn: Turn, slots: int, devices: Sequence[str]) -> None:
    """Fill the free slots. Afterwards nothing in flight and nothing to ask means that the search is over.

    `slots`: how many jobs of this study may be in flight. `devices`: the identities of the devices that serve it.
    """
    if turn.row.status == "queued" and slots > 0:
        turn.set_status("running")
    if turn.row.status != "running":
        return
    parallel = turn.study.budget.parallel
    capacity = slots if parallel is None else min(slots, parallel)
    over = _spent(turn)
    hopeless = _hopeless(turn)
    waits = complete = False
    while over is None and hopeless is None and not turn.mind.settled and len(turn.in_flight()) < capacity:
        answer = turn.search.ask()
        payload = {**answer_payload(answer), "trials": turn.new_trials()}
        turn.sync()
        remark = remark_of(turn.search.searcher)
        match answer:
            case Job():
                _take(turn, answer, payload, devices)
                _note(turn, answer.trial, remark)
            case Wait() | Exhausted():
                if payload["trials"]:
                    turn.log("asked", payload)
                turn.mind.settled = True
                waits = isinstance(answer, Wait)
                if isinstance(answer, Exhausted):
                    complete = True
                    over = turn.search.note or "the search is complete"
        over = over or _spent(turn)
    if turn.in_flight():
        return
    if hopeless is not None:
        turn.set_status("faulted", hopeless)
    elif complete and raised(turn):
        ask(turn, slots, devices)
    elif over is not None:
        turn.end_search("done", "; ".join(filter(None, (over, _ended(turn, {"failed": 1, "vetoed": 1})))))
    elif waits:
        turn.set_status("faulted", "the search waits and no job is running: a bug, please report it with the log")


def _take(turn: Turn, job: Job, payload: dict[str, object], devices: Sequence[str]) -> None:
    if job.kind == "measure" and job.signature is not None and len(set(devices)) == 1:
        place = _measured_on(turn, devices[0])
        known = None if place is None else turn.tx.measurement(place, job.signature)
        if known is not None:
            turn.log("asked", {**payload, "job": None, "cached": True})
            turn.tell(measured_of(job.signature, known), cached=True)
            return
    row = put_job(turn, job.trial, job.kind, job.since, job.until, signature=job.signature,
                  parent=job.parent if job.morph is None else None)  # fmt: skip
    turn.log("asked", {**payload, "job": row.id, "cached": False})
    changes: dict[str, object] = {"signature": job.signature} if job.signature is not None else {}
    if job.kind == "train":
        changes |= {"bracket": job.bracket, "reason": job.reason}
    if changes:
        turn.tx.set_trial(turn.id, job.trial, **changes)


def _note(turn: Turn, trial: int, remark: str | None) -> None:
    """Log what the searcher says, when it is something else than before."""
    if remark is not None and remark != turn.mind.remark:
        turn.mind.remark = remark
        turn.log("remarked", {"trial": trial, "text": remark})


def put_job(
    turn: Turn, trial: int, kind: str, since: int, until: int, *, signature: str | None = None,
    points: Sequence[dict[str, object]] = (), parent: int | None = None,
) -> JobRow:  # fmt: skip
    """Write the row of a new job into the outbox."""
    turn.mind.dispatched[trial, kind] += 1
    config = turn.search.trials[trial].config
    job = f"{turn.id}-{trial}-{kind}{turn.mind.dispatched[trial, kind]}"
    task = turn.study.task
    exact = turn.search.exact(config) if task.describe else {}  # a worker need not report what is known
    spec = {
        "id": job, "study": turn.id, "trial": trial, "kind": kind, "since": since, "until": until,
        "config": config.flat(), "nested": turn.study.space.nested(config), "task": task.model_dump(mode="json"),
        "seed": trial_seed(turn.study.seed, origin(turn.study, trial)),
        "objectives": [name for name in needed(turn.study.objectives) if name not in exact and name not in OURS],
        "artifacts": turn.row.artifacts, "signature": signature, "points": list(points),
        "time_limit_s": task.options.get("time_limit_s") if kind == "train" else None,
        "cap_s": limit_s(turn, until) if kind == "train" else None, "study_seed": turn.study.seed,
        "parent": None if parent is None else [parent, since], "morphed": _morphed(turn, trial, kind),
        "costs": list(turn.search.costs(trial)) if kind == "train" else [],
        "predicts": kind == "train" and _predicts(turn),
    }  # fmt: skip
    if kind == "train" and (files := given_files(turn.study, trial)):
        spec["given"] = dict(files)
    if kind == "export":
        spec["reproduce"] = reproduction(turn, trial, until, points)
    if kind in ("measure", "export"):
        registered = _registered(turn)
        if runtime := turn.study.runtime or ("" if registered is None else registered.runtime):
            spec["runtime"] = runtime
        if turn.study.low_bit:
            spec["low_bit"] = True
    row = JobRow(job, turn.id, trial, kind, since, until, 1, "outbox", "", "", "", None, spec, turn.now, None, None)
    turn.tx.put_job(row)
    return row


def _registered(turn: Turn) -> DeviceRow | None:
    """The registered device of the study, whose runtime times its models; None where that is not for it to say."""
    task = turn.study.task.built_in
    found = None if task is None or task.operators is None else turn.tx.device(turn.study.device)
    return found if found is not None and task is not None and found.runtime in task.runtimes else None


def _measured_on(turn: Turn, worker: str) -> str | None:
    """The device that figures of the study are of, for whoever looks them up; None where nobody can know its name.
    `worker`: the identity of its workers, which is that of ONNX Runtime there."""
    runtime, registered = turn.study.runtime, _registered(turn)
    if registered is not None and runtime in ("", registered.runtime):
        return registered.identity
    return worker if runtime in ("", ONNX) else None


def _predicts(turn: Turn) -> bool:
    """Whether a trial predicts the latencies of its own points: it brings many networks, and the study goes by a
    predictor."""
    study = turn.study
    wanted = study.latency == "predicted" and study.predictor is not None
    return wanted and study.task.built_in is not None and study.task.built_in.networks is not None


def _morphed(turn: Turn, trial: int, kind: str) -> dict[str, object] | None:
    """The parent whose weights are morphed, in each training of a trial: its own checkpoint may turn out damaged."""
    known = turn.search.trials[trial]
    if kind != "train" or known.morph is None or known.parent is None:
        return None
    config = turn.search.trials[known.parent].config
    return {"trial": known.parent, "step": known.morph, "config": config.flat(),
            "nested": turn.study.space.nested(config)}  # fmt: skip


def trial_seed(seed: int, trial: int) -> int:
    """The seed of a trial's training, 31 bits: a digest, so that neighbours share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{trial}".encode()).digest()[:4], "big") >> 1


def _spent(turn: Turn) -> str | None:
    """Why nothing more is asked, or None. Jobs in flight count with all the steps that they were asked for."""
    budget = turn.study.budget
    if budget.hours is not None and turn.mind.seconds >= budget.hours * 3600:
        return f"the budget of {budget.hours:g} hours is spent"
    if budget.steps is not None:
        done = turn.tx.counts(turn.id)["steps"]
        coming = 0
        for job in turn.in_flight():
            trial = turn.tx.trial(turn.id, job.trial)
            if job.kind == "train" and trial is not None:
                coming += max(0, job.until - max(job.since, trial.step))
        if done + coming >= budget.steps:
            return f"the budget of {budget.steps} steps is spent"
    return None


def _hopeless(turn: Turn) -> str | None:
    """Why asking on is of no use, or None: nothing was ever reported, and one trial after the other failed or was
    vetoed.

    Those that had ended so when somebody resumed the study do not count: the task may be mended."""
    said = _ended(turn, {state: n + turn.mind.forgiven.get(state, 0) for state, n in HOPELESS.items()})
    return said and f"{said}; mend that, then resume"


def _ended(turn: Turn, least: Mapping[Hopeless, int]) -> str | None:
    """How many trials failed (were vetoed) and why, when at least so many did and nothing was ever reported; else
    None."""
    if any(state in ("paused", "done") for state in turn.mind.states.values()):  # soon found where all is well
        return None
    found = {state: trials for state, n in least.items() if len(trials := turn.ended(state)) >= n}
    if not found or turn.tx.counts(turn.id)["reports"]:
        return None
    return "; ".join(_told(turn, state, trials) for state, trials in found.items())


def _told(turn: Turn, state: Hopeless, trials: Sequence[int]) -> str:
    last = turn.tx.trial(turn.id, trials[-1])
    words = [] if last is None else [last.reason, *(last.error or "").strip().splitlines()[-1:]]
    how = "failed" if state == "failed" else "were vetoed"
    why = ": ".join(w.strip() for w in words if w)
    return f"{len(trials)} trials {how} and none has reported anything; the last: {why}"
