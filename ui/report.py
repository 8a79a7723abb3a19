"""What is left of a study to look at: `python -P -m ui.report FOLDER` writes report.html, front.csv, front.png there.

All three need no network and no service. STUDY may also be a name, with `--url` or `--root`, and `--to FOLDER`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from searchd.client import Client
from searchd.errors import SearchdError
from ui import frames, theme
from ui.charts import attained
from ui.marks import wide
from ui.report_page import Answers, page
from ui.units import Metric, number


def write(client: Client, study: str, folder: Path, now: float | None = None) -> list[Path]:
    """Write the three files into `folder`, each complete or not at all; answers their paths."""
    summary = client.show(study)
    told = Answers(
        summary,
        client.spec(study),
        client.front(study),
        client.trials(study),
        client.curves(study),
        client.rungs(study),
    )
    folder.mkdir(parents=True, exist_ok=True)
    points = frames.front(told.front)
    metrics = frames.metrics(summary, points, frames.trials(told.trials))
    objectives = [metrics[o["name"]] for o in summary["objectives"]]
    written = [folder / "report.html", folder / "front.csv", folder / "front.png"]
    _replace(written[0], page(told, time.time() if now is None else now).encode())
    _replace(written[1], csv(points).encode())
    _replace(written[2], png(points, frames.trials(told.trials), objectives, str(summary["name"])))
    return written


def csv(points: pd.DataFrame) -> str:
    """The front as CSV: trial, point, step, verified, the metrics, the config as `config.NAME`."""
    configs = pd.DataFrame([{f"config.{k}": v for k, v in c.items()} for c in points["config"]], index=points.index)
    return str(pd.concat([points.drop(columns="config"), configs], axis=1).to_csv(index=False))


def png(points: pd.DataFrame, trials: pd.DataFrame, objectives: Sequence[Metric], name: str) -> bytes:
    """The first objective over each other one, drawn by matplotlib; without a front the picture says so."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    first, others = objectives[0], list(objectives[1:3]) or [Metric("step", "step")]
    figure = Figure(figsize=(6.4 * len(others), 4.6), dpi=130, facecolor=theme.PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    plots = figure.subplots(1, len(others), squeeze=False)[0]
    for axes, of in zip(plots, others, strict=True):
        axes.grid(color=theme.GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=theme.MUTED, labelsize=9)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(theme.LINE)
        axes.set_xlabel(of.title, color=theme.INK)
        axes.set_ylabel(first.title, color=theme.INK)
        shown = _both(points, of.name, first.name)
        cloud = _both(trials, of.name, first.name)
        axes.scatter(cloud[of.name], cloud[first.name], s=18, color=theme.DOMINATED, label="other trials", linewidths=0)
        if shown.empty:
            axes.text(0.5, 0.5, "no point on the front", ha="center", transform=axes.transAxes, color=theme.MUTED)
            continue
        line = attained(shown, of, first)
        axes.step(line[of.name], line[first.name], where="post", color=theme.FRONT, linewidth=1.4, alpha=0.6)
        axes.scatter(shown[of.name], shown[first.name], s=52, color=theme.FRONT, edgecolors="white", linewidths=1,
                     label="front", zorder=3)  # fmt: skip
        for which, metric in (("x", of), ("y", first)):
            values = pd.concat([shown[metric.name], cloud[metric.name]])
            if wide([float(v) for v in values]):
                (axes.set_xscale if which == "x" else axes.set_yscale)("log")
                along = axes.xaxis if which == "x" else axes.yaxis
                along.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                along.set_minor_locator(NullLocator())
            if metric.counted or wide([float(v) for v in values]):
                (axes.xaxis if which == "x" else axes.yaxis).set_major_formatter(lambda v, _, of=metric: _short(of, v))
        axes.legend(frameon=False, fontsize=9, labelcolor=theme.MUTED)
    count = "1 point" if len(points) == 1 else f"{len(points)} points"
    figure.suptitle(f"{name}: {count} on the front", color=theme.INK, fontsize=12)
    held = io.BytesIO()
    figure.savefig(held, format="png")
    return held.getvalue()


def _both(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    if x not in frame.columns or y not in frame.columns:
        return pd.DataFrame({x: pd.Series(dtype=float), y: pd.Series(dtype=float)})
    return frame.assign(**{n: pd.to_numeric(frame[n], errors="coerce") for n in {x, y}}).dropna(subset=[x, y])


def _short(of: Metric, value: float) -> str:
    return of.text(value) if of.unit == "B" else number(value)


def _replace(path: Path, content: bytes) -> None:
    """Write beside and rename: a reader sees the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with a message."""
    parser = argparse.ArgumentParser("ui.report", description="Write report.html, front.csv and front.png of a study.")
    parser.add_argument("study", metavar="FOLDER", help="the study's folder, or its name or id")
    parser.add_argument("--url", help="a daemon, instead of a folder of this machine")
    parser.add_argument("--root", default=None, help="where studies given by name lie")
    parser.add_argument("--to", type=Path, default=None, help="where to write (default: the study's folder)")
    given = parser.parse_args(argv)
    to = given.to or Path(given.study)
    if given.to is None and not to.is_dir():
        print(f"error: {given.study!r} is not a folder: give --to FOLDER to say where to write", file=sys.stderr)
        return 1
    try:
        root = given.root or (str(to.parent) if to.is_dir() else None)
        with Client(given.url) if given.url else Client(root=root) as client:
            for path in write(client, given.study, to):
                print(path)
    except (SearchdError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
