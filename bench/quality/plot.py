"""From results/ to docs/img/: anytime curves, ranks and decision CPU.

    python -m bench.quality.plot
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from bench.quality.problems import DEVICES, OTHERS, PUBLIC, SUBNETS
from bench.quality.summarise import RESULTS, Scored, read

IMAGES = Path(__file__).parents[2] / "docs" / "img"
SHOWN: dict[str, tuple[str, str, str]] = {
    "auto+auto": ("auto (ours)", "#0b5fa5", "-"),
    "hyperband+tpe": ("Hyperband × TPE (ours)", "#4aa3df", "-"),
    "fifo+mo-evolution": ("whole runs × MO evolution (ours)", "#4aa3df", "-"),
    "st-BORE": ("Syne Tune BORE", "#c44e52", "-"),
    "optuna-gp": ("Optuna GP", "#dd8452", "-"),
    "optuna-tpe": ("Optuna TPE", "#8c6d31", "-"),
    "st-ASHA-1-5": ("Syne Tune ASHA, grace 5", "#55a868", "--"),
    "dehb": ("DEHB", "#8172b3", "--"),
    "optuna-nsga2p20": ("Optuna NSGA-II", "#55a868", "--"),
    "st-MOREA": ("Syne Tune MO-REA", "#8172b3", "--"),
    "random": ("random", "#8a8a8a", ":"),
}
"""Methods of the curves: what they are called, and how they are drawn."""
FLOOR = 1e-3


def style() -> None:
    """One look for all."""
    plt.rcParams.update({
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
        "axes.titlesize": 9.5, "axes.titleweight": "bold", "figure.dpi": 110, "svg.fonttype": "none",
    })  # fmt: skip


def curves(scored: Sequence[Scored], problems: Sequence[str], file: str, columns: int, ylabel: str) -> None:
    """Median regret over the spent share of the budget, quartiles shaded, a panel a problem."""
    problems = [p for p in problems if any(s.problem == p for s in scored)]
    lines = -(-len(problems) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(3.1 * columns, 2.5 * lines + 0.5), sharex=True, squeeze=False)
    seen: dict[str, Any] = {}
    for ax, problem in zip(axes.flat, problems, strict=False):
        for method, (label, colour, dash) in reversed(SHOWN.items()):
            runs = np.array([s.curve for s in scored if (s.problem, s.method) == (problem, method)])
            if not len(runs):
                continue
            x = np.arange(1, runs.shape[1] + 1) * 100 / runs.shape[1]
            low, mid, high = np.maximum(np.percentile(runs, (25, 50, 75), axis=0), FLOOR)
            ours = "ours" in label
            (seen[label],) = ax.plot(x, mid, dash, color=colour, lw=2.2 if ours else 1.3, zorder=3 if ours else 2)
            if ours or method == "random":
                ax.fill_between(x, low, high, color=colour, alpha=0.13, lw=0)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_title(problem)
    for ax in axes.flat[len(problems) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("% of the budget (simulated time)")
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    order = [label for label, _, _ in SHOWN.values() if label in seen]
    wide = min(4 if columns > 2 else 2, len(order))
    fig.legend([seen[name] for name in order], order, loc="lower center", ncols=wide, frameon=False)
    fig.tight_layout(rect=(0, 0.21 * -(-len(order) // wide) / (2.5 * lines + 0.5), 1, 1))
    save(fig, file)


def overview(scored: Sequence[Scored], chosen: str, file: str) -> None:
    """Average ranks of a set of problems with the critical difference, and decision CPU beside them."""
    with (RESULTS / "ranks.csv").open() as text:
        lines = [r for r in csv.DictReader(text) if r["set"] == chosen and r["at"] == "100"]
    if not lines:
        return
    lines.sort(key=lambda r: -float(r["rank"]))
    names = [r["method"] for r in lines]
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 0.27 * len(lines) + 1.3), sharey=True, width_ratios=(3, 2))
    y = np.arange(len(lines))
    colours = ["#0b5fa5" if "+" in n else "#9a9a9a" for n in names]
    rank = [float(r["rank"]) for r in lines]
    cd = float(lines[0]["critical_difference"])
    best = min(rank)
    left.axvspan(best, best + cd, color="#0b5fa5", alpha=0.08, lw=0)
    left.scatter(rank, y, c=colours, s=34, zorder=3)
    left.set_yticks(y, [SHOWN.get(n, (n.replace("+", " × ") + (" (ours)" if "+" in n else ""),))[0] for n in names])
    left.set_xlabel(f"average rank on {lines[0]['problems']} problems (1 is best)")
    left.set_title("shaded: not told apart from the best", fontweight="normal", fontsize=8.5)
    for i, name in enumerate(names):
        cpu = [s.cpu_s for s in scored if s.method == name]
        low, mid, high = np.maximum(np.percentile(cpu, (10, 50, 90)), 1e-3)
        right.plot([low, high], [i, i], color=colours[i], lw=1.5)
        right.scatter([mid], [i], color=colours[i], s=28, zorder=3)
    right.set_xscale("log")
    right.set_xlabel("CPU s of decisions a run (median, 10 to 90 %)")
    fig.tight_layout()
    save(fig, file)


def save(fig: Any, file: str) -> None:
    """A PNG of a page's width, in 128 colours."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    fig.savefig(drawn, dpi=110)
    plt.close(fig)
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(IMAGES / file, optimize=True)


def main() -> None:
    style()
    scored = read(RESULTS / "runs.csv")
    curves(scored, PUBLIC, "quality.png", 4, "normalised regret")
    curves(scored, OTHERS, "quality-others.png", 4, "normalised regret")
    curves(scored, DEVICES, "quality-devices.png", 3, "1 - HV / HV*")
    curves(scored, SUBNETS, "quality-elastic.png", 2, "1 - HV / HV*")
    overview(scored, "all", "ranks.png")


if __name__ == "__main__":
    main()
