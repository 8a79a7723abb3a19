"""The words of a study's event log: what each kind of event holds, and the search's events and answers as JSON.

The log is the single truth (DESIGN 4): from the `submitted` event and the answers and events below, `searchd.replay`
computes every decision again. A payload that holds `event` was told to the search; its `stops` are what the search
answered. Non-finite metrics stay floats: the store keeps them.

kind         payload
submitted    name, spec (`Study.dump()`), artifacts
asked        answer (`job`, `wait` or `exhausted`), trials: the trials that this call brought into being, each
             {trial, config, state}, and `morphed` {parent, step} where the searcher gave it a parent whose weights of
             that step are morphed to its config; and for a job: trial, kind, since, until, bracket, signature, reason,
             parent and morph (the step) where it begins with another's weights, job (its id), cached (a measure job
             that needs no worker: its result is known). `wait` and `exhausted` are logged only when `trials` is not
             empty: otherwise they changed nothing
told         event (`reported`, `finished`, `failed`, `stopped`, `measured`, `described`, `vetoed`), its fields, stops
             [{trial, reason}]
             of a job that ended: job; of one that failed: cause (`wire.Cause`); peak_bytes, where a worker said it
lost         event `lost`, trial, stops; job, attempt (the one that was lost), reason, cause, retried, from; alone: it
             ran out of memory and runs again where nothing else holds any
injected     event `injected`, trial, config, stops
refitted     event `repredicted` with predictor, the one that holds from here on; off (median relative error of the old
             one over the front), bound, measured: how many figures of the front it was fitted to, figures [{counts of
             operators, ms}], stops
deepened     event `deepened` with R, the new maximum resource, stops; why: in words, where the study raised it itself
extended     event `extended` with max_trials when the number of trials changed, stops; budget: the whole new budget
exporting    trial, step, job, points: an export job of the front was asked for (not by the search)
begun        job, trial, attempt, worker, device, kind, since, until, warm: the worker has the checkpoint in memory
inherited    trial, job, attempt, parent, step, ok, reason: a trial with a morphed parent began, with its weights or
             (not ok) from nothing, and why
status       status, reason; with `verifying`: then (`done` or `stopped`, what follows)
capacity     slots: the live worker slots that may serve the study; `woken`: a daemon came (back) and none is known yet
budget       spent (`steps`, `hours` or null), seconds: how long the study ran while a daemon lived
verified     trial, job, step, ok, alone, points [{point, metrics}], files, reason;
             predicted: what the search took for each point's latency_ms, where it predicted; networks: what names the
             network of each point, where a trial brings many
prioritized  priority: the study's weight from here on
waits        text: why no job of the study runs now; "": one does
remarked     trial, text: what the searcher says of the study since it suggested this trial; "": it says so no longer
rebased      version, difference {seq, kind, recorded, computed}, reports: those that the log before does not hold and a
             rung of the new rule asks for, jobs: ended with it. What was decided before is taken as recorded
quarantined  error, message: the entry that broke the engine, as text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, assert_never

from searchd.search.events import (
    Deepened,
    Described,
    Event,
    Exhausted,
    Extended,
    Failed,
    Finished,
    Injected,
    Job,
    Lost,
    Measured,
    Reported,
    Repredicted,
    SearchAnswer,
    Stop,
    Stopped,
    Vetoed,
    Wait,
)
from spaces.config import Config

Kind = Literal[
    "submitted", "asked", "told", "lost", "injected", "extended", "deepened", "begun", "status", "capacity", "budget",
    "verified", "exporting", "quarantined", "rebased", "inherited", "remarked", "refitted",
    "prioritized", "waits",
]  # fmt: skip

Payload = dict[str, Any]


def event_payload(event: Event) -> Payload:
    """A search event as JSON; `event_of` is its inverse."""
    match event:
        case Reported():
            return {"event": "reported", "trial": event.trial, "step": event.step, "metrics": dict(event.metrics),
                    "points": [dict(p) for p in event.points]}  # fmt: skip
        case Finished():
            payload: Payload = {"event": "finished", "trial": event.trial, "step": event.step}
            if event.metrics is not None:
                payload |= {"metrics": dict(event.metrics), "points": [dict(p) for p in event.points]}
            return payload
        case Lost():
            return {"event": "lost", "trial": event.trial}
        case Failed():
            return {"event": "failed", "trial": event.trial, "reason": event.reason}
        case Stopped():
            return {"event": "stopped", "trial": event.trial, "by": event.by}
        case Injected():
            return {"event": "injected", "config": event.config.flat()}
        case Measured():
            payload = {"event": "measured", "signature": event.signature, "cumulative_ms": list(event.cumulative_ms),
                    "p95_ms": list(event.p95_ms), "device": event.device, "alone": event.alone,
                    "kernel_bits": list(event.kernel_bits), "error": event.error,
                    "extra": dict(event.extra)}  # fmt: skip
            return payload | {"kernels": list(event.kernels)} if event.kernels else payload
        case Described():
            return {"event": "described", "trial": event.trial, "metrics": dict(event.metrics)}
        case Vetoed():
            return {"event": "vetoed", "trial": event.trial, "reason": event.reason}
        case Deepened():
            return {"event": "deepened", "R": event.R}
        case Repredicted():
            return {"event": "repredicted", "predictor": dict(event.predictor)}
        case Extended():
            return {"event": "extended", "max_trials": event.max_trials}
        case _:
            assert_never(event)


def event_of(payload: Mapping[str, Any]) -> Event:
    """The search event that a payload holds; ValueError when it holds none."""
    p = payload
    match p.get("event"):
        case "reported":
            return Reported(p["trial"], p["step"], p["metrics"], tuple(p["points"]))
        case "finished":
            return Finished(p["trial"], p["step"], p.get("metrics"), tuple(p.get("points", ())))
        case "lost":
            return Lost(p["trial"])
        case "failed":
            return Failed(p["trial"], p["reason"])
        case "stopped":
            return Stopped(p["trial"], p["by"])
        case "injected":
            return Injected(Config(p["config"]))
        case "measured":
            return Measured(p["signature"], tuple(p["cumulative_ms"]), tuple(p["p95_ms"]), p["device"], p["alone"],
                            tuple(p["kernel_bits"]), p["error"], p["extra"],
                            tuple(p.get("kernels", ())))  # fmt: skip
        case "described":
            return Described(p["trial"], p["metrics"])
        case "vetoed":
            return Vetoed(p["trial"], p["reason"])
        case "deepened":
            return Deepened(p["R"])
        case "repredicted":
            return Repredicted(p["predictor"])
        case "extended":
            return Extended(p["max_trials"])
        case other:
            raise ValueError(f"no search event is called {other!r}: the log was written by another version of searchd")


def answer_payload(answer: SearchAnswer) -> Payload:
    """An answer of the search as JSON, without its config (`trials` beside it has that once)."""
    match answer:
        case Job():
            said: Payload = {
                "answer": "job", "trial": answer.trial, "kind": answer.kind, "since": answer.since,
                "until": answer.until, "bracket": answer.bracket, "signature": answer.signature,
                "reason": answer.reason,
            }  # fmt: skip
            if answer.parent is not None:
                said["parent"] = answer.parent
            if answer.morph is not None:
                said["morph"] = answer.morph
            return said
        case Wait():
            return {"answer": "wait"}
        case Exhausted():
            return {"answer": "exhausted"}
        case _:
            assert_never(answer)


def stops_payload(stops: Sequence[Stop]) -> list[Payload]:
    """What a `tell` answered, in its order."""
    return [{"trial": stop.trial, "reason": stop.reason} for stop in stops]
