"""A client's answers as pandas frames. Pure: no I/O, no Streamlit, no clock.

Every frame has its columns even when it is empty, so that a chart of nothing is still a chart.
`metrics` columns carry their plain names (`val_error`), a config's stay in one column `config` as a dict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ui.units import Metric, metric
from ui.wording import scalars

Answer = Mapping[str, Any]

FRONT_COLUMNS = ["trial", "point", "step", "verified", "violation", "config"]
TRIAL_COLUMNS = ["trial", "status", "step", "bracket", "seconds", "reason", "error", "config"]
CURVE_COLUMNS = ["trial", "step", "value"]
RUNG_COLUMNS = ["bracket", "rung", "step", "trial", "value", "state"]
LOG_COLUMNS = ["seq", "at", "kind", "trial", "text"]


def front(answer: Sequence[Answer]) -> pd.DataFrame:
    """One row a front point: trial, point, step, verified, violation (0: feasible), config, and a column a metric."""
    rows = [
        {
            **_scalars(a["metrics"]),
            "trial": a["trial"],
            "point": a["point"],
            "step": a["step"],
            "verified": bool(a.get("verified", False)),
            "violation": a.get("violation") or 0.0,
            "config": _deployed(a),
        }
        for a in answer
    ]
    return _frame(rows, FRONT_COLUMNS)


def _deployed(point: Answer) -> dict[str, Any]:
    """The config of a front point, with the weight bits that were allocated to it in the place of the trained ones."""
    bits = point["metrics"].get("bits")
    if not bits:
        return dict(point["config"])
    kept = {name: value for name, value in point["config"].items() if name.partition(".")[0] != "bits"}
    whole = [int(b) if isinstance(b, float) and b.is_integer() else b for b in bits]
    return kept | {f"bits.{i}": b for i, b in enumerate(whole)}


def trials(answer: Sequence[Answer]) -> pd.DataFrame:
    """One row a trial: its state, and a column a metric of its last report."""
    rows = [
        {
            **_scalars(a.get("metrics") or {}),
            **{c: a.get(c) for c in TRIAL_COLUMNS if c != "config"},
            "config": dict(a.get("config") or {}),
        }
        for a in answer
    ]
    return _frame(rows, TRIAL_COLUMNS)


def curves(answer: Sequence[Answer]) -> pd.DataFrame:
    """`trial, step, value`, sorted by trial and step; a diverged report (null) is NaN."""
    frame = _frame([{c: a[c] for c in CURVE_COLUMNS} for a in answer], CURVE_COLUMNS)
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return frame.sort_values(["trial", "step"], ignore_index=True)


def at_step(curves_frame: pd.DataFrame, step: int, goal: str | None = "minimize") -> pd.DataFrame:
    """The trials that reported at exactly `step`, best first: `rank, trial, value`; NaN ranks last."""
    rows = curves_frame[curves_frame["step"] == step]
    rows = rows.sort_values(["value", "trial"], ascending=[goal != "maximize", True], na_position="last")
    rows = rows[["trial", "value"]].reset_index(drop=True)
    rows.insert(0, "rank", range(1, len(rows) + 1))
    return rows


def compare_step(curves_frame: pd.DataFrame, rung_steps: Iterable[int]) -> int | None:
    """The deepest rung that at least three trials have reported, to compare them at; else the first step there is."""
    counts = curves_frame.groupby("step")["trial"].nunique()
    offered = [s for s in sorted(rung_steps) if s in counts.index] or [int(s) for s in counts.index]
    return next((s for s in reversed(offered) if counts[s] >= 3), offered[0] if offered else None)


def rungs(answer: Sequence[Answer]) -> pd.DataFrame:
    """One row a trial in a rung: `bracket, rung, step, trial, value, state`; `rung` counts from 0 in its bracket."""
    rows = []
    seen: dict[int, int] = {}
    for a in sorted(answer, key=lambda a: (a["bracket"], a["step"])):
        rung = seen.get(a["bracket"], 0)
        seen[a["bracket"]] = rung + 1
        rows += [
            {
                "bracket": a["bracket"],
                "rung": rung,
                "step": a["step"],
                "trial": t["trial"],
                "value": t.get("value"),
                "state": t.get("state") or "waiting",
            }
            for t in a["trials"]
        ]
    frame = _frame(rows, RUNG_COLUMNS)
    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return frame


def log(answer: Sequence[Answer]) -> pd.DataFrame:
    """The decision log, newest first: `seq, at (UTC), kind, trial, text`."""
    frame = _frame([{c: a.get(c) for c in LOG_COLUMNS} for a in answer], LOG_COLUMNS)
    frame["at"] = pd.to_datetime(pd.to_numeric(frame["at"], errors="coerce"), unit="s", utc=True)
    frame["trial"] = pd.to_numeric(frame["trial"], errors="coerce").astype("Int64")
    return frame.sort_values("seq", ascending=False, ignore_index=True)


def metrics(summary: Answer, *sources: pd.DataFrame) -> dict[str, Metric]:
    """Every numeric metric by name, objectives first and in the study's order; values decide a percentage."""
    known = {*FRONT_COLUMNS, *TRIAL_COLUMNS}
    best = summary.get("best") or {}
    values: dict[str, list[Any]] = {o["name"]: [best.get(o["name"])] for o in summary.get("objectives", ())}
    found: dict[str, list[Any]] = {}
    for source in sources:
        for column in source.columns:
            if column not in known and pd.api.types.is_numeric_dtype(source[column]):
                found.setdefault(str(column), []).extend(source[column].dropna())
    for name in sorted(found):
        values.setdefault(name, []).extend(found[name])
    objectives = {o["name"]: o for o in summary.get("objectives", ())}
    return {name: metric(name, seen, objectives.get(name)) for name, seen in values.items()}


def parameters(answer: Sequence[Answer], most: int = 12) -> pd.DataFrame:
    """One row a trial, one column a parameter that varies, for parallel coordinates.

    The same leaf under several options (`optimizer.sgd.lr`, `optimizer.adamw.lr`) is one column
    (`optimizer.lr`); a repeated parameter longer than three (`bits.0`, `bits.1`, …) is its mean. Subsets become text.
    At most `most` columns are kept: those that the fewest trials have go first, later ones before earlier ones.
    """
    rows = [{"trial": a["trial"], **_merged(a.get("config") or {})} for a in answer]
    frame = _frame(rows, ["trial"])
    frame = _means(frame)
    distinct = {c: frame[c].nunique(dropna=False) for c in frame.columns if c != "trial"}
    varying = [c for c, n in distinct.items() if n > 1]
    while len(varying) > most:
        varying.remove(max(varying, key=lambda c: (frame[c].isna().sum(), varying.index(c))))
    stems = {c: str(c).partition(".")[0].partition(" ")[0] for c in frame.columns}
    first = list(dict.fromkeys(stems.values()))
    return frame[["trial", *sorted(varying, key=lambda c: first.index(stems[c]))]]


def _merged(config: Answer) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in config.items():
        parts = name.split(".")
        owner = ".".join(parts[:-2])
        nested = len(parts) > 2 and config.get(owner) == parts[-2]
        out[f"{owner}.{parts[-1]}" if nested else name] = (
            ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else value
        )
    return out


def _means(frame: pd.DataFrame) -> pd.DataFrame:
    groups: dict[str, list[str]] = {}
    for column in frame.columns:
        stem, _, index = str(column).rpartition(".")
        if stem and index.isdigit():
            groups.setdefault(stem, []).append(str(column))
    for stem, columns in groups.items():
        numeric = frame[columns].apply(pd.to_numeric, errors="coerce")
        if len(columns) > 3 and bool(numeric.notna().any(axis=None)):
            at = int(frame.columns.get_loc(columns[0]))  # type: ignore[arg-type]
            mean = numeric.mean(axis=1)
            frame = frame.drop(columns=columns)
            frame.insert(min(at, len(frame.columns)), f"{stem} (mean)", mean)
    return frame


def _scalars(values: Answer) -> dict[str, Any]:
    """`scalars` as they stand in a column. Null is NaN."""
    return {k: float("nan") if v is None else v for k, v in scalars(values).items()}


def _frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    for column in columns:
        if column not in frame.columns:
            frame[column] = pd.Series(dtype=object if column in ("config", "verified") else float)
    return frame[[*columns, *(c for c in frame.columns if c not in columns)]]
