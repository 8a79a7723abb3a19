"""The event log for people: one line an event. What the payloads hold is in `searchd.log`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from searchd.store.base import EventRow, Reader
from searchd.views.plain import Goal, goals, number, plain, the

LIMIT = 1000


def log(reader: Reader, study: str, after: int = 0, limit: int | None = LIMIT) -> list[dict[str, Any]]:
    """`[{"seq", "at", "kind", "trial", "text", "payload"}]` after `seq` `after`, oldest first; no limit when None."""
    row = the(reader, study)
    objectives = goals(row)
    return [
        {"seq": e.seq, "at": e.at, "kind": e.kind, "trial": _trial(e.payload), "text": text(e, objectives),
         "payload": plain(e.payload)}
        for e in reader.events(study, after, limit)
    ]  # fmt: skip


def text(event: EventRow, objectives: Sequence[Goal] = ()) -> str:
    """One line without a newline. An event of a newer release is shown by its kind; never an error."""
    try:
        said = _text(event.kind, event.payload, objectives)
    except (KeyError, TypeError, ValueError):
        said = event.kind
    return " ".join(said.split())


def _trial(payload: Mapping[str, Any]) -> int | None:
    found = payload.get("trial")
    return found if isinstance(found, int) else None


def _text(kind: str, p: Mapping[str, Any], objectives: Sequence[Goal]) -> str:
    match kind:
        case "submitted":
            return f"study {p['name']} submitted"
        case "asked":
            return _asked(p)
        case "told" | "lost" | "injected" | "extended" | "deepened":
            return "; ".join([_told(kind, p, objectives), *(f"trial {s['trial']} gives up: {s['reason']}" for s in
                              p.get("stops", ())), *_vetoed(p)])  # fmt: skip
        case "begun":
            where = f" on {p['device']}" if p.get("device") else ""
            again = f", attempt {p['attempt']}" if p["attempt"] > 1 else ""
            warm = ", from memory" if p.get("warm") else ""
            return f"trial {p['trial']}: {p['worker']} began to {p['kind']}{_to(p)}{where}{warm}{again}"
        case "inherited":
            whose = f"the weights of trial {p['parent']} at step {p['step']}"
            return f"trial {p['trial']} began " + (
                f"with {whose}, morphed" if p["ok"] else f"from nothing, without {whose}{_because(p)}"
            )
        case "status":
            return f"study {p['status']}" + _because(p)
        case "capacity":
            return f"{p['slots']} worker slot{'' if p['slots'] == 1 else 's'}"
        case "budget":
            spent = f"the budget of {p['spent']} is spent: " if p.get("spent") else ""
            return f"{spent}the study has run for {_time(p['seconds'])}"
        case "exporting":
            return f"trial {p['trial']}: exporting {len(p['points'])} front points at step {p['step']}"
        case "verified":
            if not p["ok"]:
                return f"trial {p['trial']}: its front points keep the unverified numbers" + _because(p)
            beside = "" if p.get("alone", True) else ", beside other jobs"
            how = f"verified from the exported file{beside}{_off(p)}"
            return f"trial {p['trial']}: {len(p['points'])} front points {how}"
        case "refitted":
            return (f"latency is predicted anew: off by {100 * p['off']:.1f} % on the front, more than "
                    f"{100 * p['bound']:.1f} %; fitted to {p['measured']} figures more")  # fmt: skip
        case "prioritized":
            return f"priority {p['priority']:g}"
        case "waits":
            return f"waits: {p['text']}" if p["text"] else "waits no longer"
        case "remarked":
            return p["text"] or "the searcher takes back its last remark"
        case "rebased":
            was = p["difference"]
            return (f"rebased on searchd {p['version']}: it decides otherwise since seq {was['seq']}; what was trained "
                    "stays")  # fmt: skip
        case "quarantined":
            return f"a message broke the engine and was set aside: {p['error']}"
        case _:
            return kind


def _off(p: Mapping[str, Any]) -> str:
    """`; latency_ms 0.0070 predicted, 0.0060 measured`, of the first point that was predicted."""
    for point in p["points"] if "predicted" in p else ():
        predicted, measured = p["predicted"].get(str(point["point"])), point["metrics"].get("latency_ms")
        if predicted is not None and measured is not None:
            return f"; latency_ms {_shown(predicted)} predicted, {_shown(measured)} measured"
    return ""


def _asked(p: Mapping[str, Any]) -> str:
    if p["answer"] != "job":
        return "; ".join(_vetoed(p)) or f"nothing to run: {p['answer']}"
    known = " (known already)" if p.get("cached") else ""
    if p["kind"] == "describe":
        said = f"trial {p['trial']}: describe its config"
    elif p["kind"] != "train":
        said = f"trial {p['trial']}: {p['kind']} {_short(p.get('signature'))}{known}"
    elif p["since"] == 0:
        bracket = f" in bracket {p['bracket']}" if p.get("bracket") else ""
        said = f"trial {p['trial']} started, to {p['until']}{bracket}" + _because(p, "new", "started")
    else:
        said = f"trial {p['trial']} promoted to {p['until']}" + _because(p, "promoted")
    return "; ".join([said, *_vetoed(p)])


def _told(kind: str, p: Mapping[str, Any], objectives: Sequence[Goal]) -> str:
    if kind == "lost":
        after = f"runs again from step {p.get('from', 0)}" if p["retried"] else "is given up"
        how = {"preempted": "was handed back", "out_of_memory": "did not fit"}.get(p.get("cause", ""), "was lost")
        alone = ", alone" if p.get("alone") else ""
        return f"trial {p['trial']}: attempt {p['attempt']} {how} ({p['reason']}), {after}{alone}"
    if kind == "injected":
        values = ", ".join(f"{k}={_shown(v)}" for k, v in p["config"].items())
        return f"a config was injected: {values}"
    if kind == "extended":
        limits = ", ".join(f"{k} {_shown(v)}" for k, v in p["budget"].items()) or "without limit"
        return f"new budget: {limits}"
    match p["event"]:
        case "deepened":
            itself = f", for {p['why']}" if p.get("why") else ""
            return f"R was raised to {p['R']}{itself}: training goes on from the checkpoints"
        case "reported":
            return f"trial {p['trial']} reported{_values(p, objectives)} at step {p['step']}"
        case "finished":
            return f"trial {p['trial']} reached step {p['step']}"
        case "failed":
            return f"trial {p['trial']} failed" + _because(p)
        case "stopped":
            return f"trial {p['trial']} was stopped by the {p['by']}"
        case "described":
            found = ", ".join(f"{name} {_shown(value)}" for name, value in p["metrics"].items())
            return f"trial {p['trial']} described: {found or 'nothing'}"
        case "vetoed":
            return f"trial {p['trial']} vetoed before training" + _because(p)
        case "measured":
            if p["error"]:
                return f"{_short(p['signature'])} could not be measured: {p['error']}"
            costs = ", ".join(f"{ms:.3g}" for ms in p["cumulative_ms"])
            known = " (known already)" if p.get("cached") else ""
            device = p["device"] or "a device"
            return f"{_short(p['signature'])} measured: {costs} ms up to each exit on {device}{known}"
        case other:
            return f"{kind} {other}"


def _values(p: Mapping[str, Any], objectives: Sequence[Goal]) -> str:
    found = []
    for o in objectives:
        if o.name in p["metrics"]:
            found.append(f"{o.name} {_shown(p['metrics'][o.name])}")
        elif (value := o.better([v for q in p["points"] if (v := number(q.get(o.name))) is not None])) is not None:
            found.append(f"{o.name} {_shown(value)}")
    return f" {', '.join(found)}" if found else ""


def _vetoed(p: Mapping[str, Any]) -> list[str]:
    return [f"trial {t['trial']} vetoed before training" for t in p.get("trials", ()) if t["state"] == "vetoed"]


def _because(p: Mapping[str, Any], *prefixes: str) -> str:
    """`: reason`, without a first word that the line has said already."""
    reason = str(p.get("reason") or "")
    for prefix in prefixes:
        if reason == prefix:
            return ""
        reason = reason.removeprefix(f"{prefix}: ")
    return f": {reason}" if reason else ""


def _to(p: Mapping[str, Any]) -> str:
    return f" from {p['since']} to {p['until']}" if p["kind"] == "train" else ""


def _short(signature: Any) -> str:
    return f"signature {str(signature)[:8]}"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _time(seconds: float) -> str:
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
