"""What `searchd run` shows while a study runs: a panel that redraws on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.waiting import SILENT

LINE_EVERY_S = 5.0
STYLE = {
    "queued": "dim", "running": "cyan", "paused": "yellow", "verifying": "magenta", "done": "green",
    "stopped": "yellow", "faulted": "red",
}  # fmt: skip


class Progress:
    """Shows summaries as they come. A context manager; `say` prints a line above the panel."""

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        redraws = console.is_terminal and not quiet
        self._live = Live(console=console, auto_refresh=False, transient=True) if redraws else None
        self._next_line = 0.0
        self._last = ""

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str, style: str = "dim") -> None:
        if not self.quiet:
            self.console.print(Text(line, style=style), soft_wrap=True)

    def show(self, summary: dict[str, Any], rungs: list[dict[str, Any]], news: str = "") -> None:
        """Redraw the panel; without a terminal a line every few seconds, when something changed."""
        if self._live:
            self._live.update(panel(summary, rungs, news), refresh=True)
        elif not self.quiet and time.monotonic() >= self._next_line:
            now = line(summary)
            if now != self._last:
                self.console.print(now, soft_wrap=True, highlight=False)
            self._last = now
            self._next_line = time.monotonic() + LINE_EVERY_S


def panel(
    summary: dict[str, Any], rungs: list[dict[str, Any]], news: str = "", agree: Sequence[Mapping[str, Any]] = ()
) -> RenderableType:
    """The live view: how far, trials by state, rungs and how they agree, best so far, front, time."""
    status = summary["status"]
    head = Table.grid(expand=True)
    head.add_column()
    head.add_column(justify="right")
    left = _left(summary)
    clock = words.duration(summary["seconds"]) + (f"  about {words.duration(left)} left" if left is not None else "")
    head.add_row(Text("   ".join(_of(s) for s in shares(summary))), Text(clock, style="dim"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("trials", words.counts(summary["trials"]))
    grid.add_row("rungs", Text("\n").join(_ladders(rungs)) if rungs else Text("none yet", style="dim"))
    known = [p for p in agree if p["spearman"] is not None]
    if known:
        said = "   ".join(f"{p['low']} ~ {p['high']}: {p['spearman']:.2f}" for p in known)
        grid.add_row("agree", Text.assemble(said, ("  Spearman of the first objective", "dim")))
    best = "   ".join(f"{k} {words.metric(k, v)}" for k, v in summary["best"].items() if v is not None)
    grid.add_row("best", best or Text("none yet", style="dim"))
    if said := _static(summary):
        grid.add_row("schedule", said)
    hv = summary.get("hypervolume")
    grid.add_row("front", f"{summary['front']} points" + (f", hypervolume {words.number(hv)}" if hv else ""))
    if found := summary.get("predicted"):
        said = f"latency of {found['points']} points: off by {found['error']:.1%}, in the middle {found['bias']:+.1%}"
        grid.add_row("predicted", said)
    busy = summary.get("busy_fraction")
    steps = f"{summary['steps_done']} {summary.get('unit', 'step')}s"
    resumed = summary.get("resumed") or {}
    warm = f", {resumed['warm']} of {resumed['total']} resumes warm" if resumed.get("total") else ""
    inherited = summary.get("inherited") or {}
    if inherited.get("total"):
        fresh = f", {inherited['fresh']} of them from nothing after all" if inherited["fresh"] else ""
        grid.add_row("parents", f"{inherited['total']} trials began with the weights of another{fresh}")
    if ended := summary.get("ends"):
        grid.add_row("ends", ", ".join(f"{n} {cause.replace('_', ' ')}" for cause, n in ended.items()))
    if _stands(summary):
        grid.add_row("waits", Text(summary["waits"], style="yellow"))
    grid.add_row("work", steps + (f", slots {busy:.0%} busy" if busy else "") + warm)
    if news:
        grid.add_row("last", Text(news, style="dim", overflow="ellipsis", no_wrap=True))
    done, total, _ = share(summary)
    bar = Table.grid(expand=True)  # a bar alone ends no line
    part = min(done / total, 1.0) if total else 0.0
    bar.add_row(ProgressBar(total=1.0, completed=part, complete_style="cyan", finished_style="cyan"))
    title = Text.assemble((f" {summary['name']} ", "bold"), (f"{status} ", STYLE.get(status, "")))
    return Panel(Group(head, bar, grid), title=title, title_align="left", border_style="dim")


def _static(summary: Mapping[str, Any]) -> str:
    """The best trial with a schedule and the best constant one; empty where there are not both."""
    found = summary.get("static")
    if not found or not found["scheduled"] or not found["constant"]:
        return ""
    name = found["objective"]
    scheduled, constant = (words.metric(name, found[kind]["value"]) for kind in ("scheduled", "constant"))
    return f"best {scheduled}, best constant {constant}   {name} at {summary.get('unit', 'step')} {found['step']}"


def _ladders(rungs: list[dict[str, Any]]) -> list[Text]:
    """One line a bracket: how many trials stand on each rung."""
    by_bracket: dict[int, list[tuple[int, int]]] = {}
    for rung in rungs:
        by_bracket.setdefault(rung["bracket"], []).append((rung["step"], len(rung["trials"])))
    lines = []
    for bracket in sorted(by_bracket):
        steps = sorted(by_bracket[bracket])
        lines.append(Text("  ").join(Text.assemble((f"{step}:", "dim"), str(n)) for step, n in steps))
    return lines


def line(summary: dict[str, Any]) -> str:
    """One line for a log file: time, how far, states, front, best."""
    best = ", ".join(f"{k} {words.metric(k, v)}" for k, v in summary["best"].items() if v is not None)
    left = _left(summary)
    parts = [
        f"{words.duration(summary['seconds']):>5}",
        f"{summary['status']}: {', '.join(_of(s) for s in shares(summary))}",
        words.counts(summary["trials"]),
        f"{summary['steps_done']} {summary.get('unit', 'step')}s",
        f"front {summary['front']}",
    ]
    parts += [f"waits: {summary['waits']}"] if _stands(summary) else []
    parts += [f"best {best}"] if best else []
    parts += [f"about {words.duration(left)} left"] if left is not None else []
    return "  ".join(parts)


def _stands(summary: Mapping[str, Any]) -> bool:
    """Whether nothing of it goes on."""
    waits = summary.get("waits") or ""
    return bool(waits) and (waits.startswith(SILENT) or not (summary.get("jobs") or {}).get("running"))


Share = tuple[float, float | None, str]


def shares(summary: dict[str, Any]) -> list[Share]:
    """How far along, by each budget that the study has: (done, of, what); trials always."""
    budget = summary.get("budget") or {}
    ended = sum(summary["trials"].get(s, 0) for s in ("done", "stopped", "failed", "vetoed", "paused"))
    found: list[Share] = [(ended, budget.get("trials"), "trials")]
    if budget.get("steps"):
        found.append((summary["steps_done"], budget["steps"], "steps"))
    if budget.get("hours"):
        found.append((summary["seconds"] / 60, budget["hours"] * 60, "minutes"))
    return found


def share(summary: dict[str, Any]) -> Share:
    """The budget that is nearest to its end."""
    return max(shares(summary), key=lambda s: s[0] / s[1] if s[1] else -1.0)


def _left(summary: dict[str, Any]) -> float | None:
    return summary.get("time_left_s") if summary["status"] == "running" else None


def _of(s: Share) -> str:
    done, total, unit = s
    if unit == "minutes" and total:
        return f"{words.duration(done * 60)} of {words.duration(total * 60)}"
    return f"{done:.3g} of {total:.3g} {unit}" if total else f"{done:.3g} {unit}"


def front_table(points: list[dict[str, Any]], objectives: list[str], limit: int | None = None) -> Table:
    """The front for a terminal: objectives, test accuracy where it was verified, parents if there are any, config, and
    the architecture of points that have one of their own."""
    extra = [m for m in ("predicted_latency_ms", "test_accuracy") if any(m in p["metrics"] for p in points)]
    table = Table(box=None, pad_edge=False, header_style="bold", row_styles=("", "dim") if len(points) > 20 else None)
    table.add_column("trial", justify="right")
    table.add_column("step", justify="right")
    for name in [*objectives, *extra]:
        table.add_column(name, justify="right", no_wrap=True)
    family = any(p.get("parent") for p in points)
    if family:
        table.add_column("parent", justify="right", no_wrap=True)
    table.add_column("config", overflow="fold")
    for p in points[:limit]:
        label = f"{p['trial']}.{p['point']}" if _several(points, p["trial"]) else str(p["trial"])
        cells = [words.metric(m, p["metrics"].get(m)) for m in [*objectives, *extra]]
        cells += [words.parent(p.get("parent"))] if family else []
        said = " · ".join(filter(None, (words.selected(p), words.config(words.deployed(p)))))
        table.add_row(label, str(p["step"]), *cells, Text(said, style="dim"))
    return table


def front_notes(points: list[dict[str, Any]], summary: Mapping[str, Any]) -> list[str]:
    """What a front does not say of itself: that nothing on it keeps the bounds, and which points could not be on it."""
    found = []
    if points and all((p.get("violation") or 0) > 0 for p in points):
        bounds = words.bounds(summary["objectives"])
        found.append(f"no point keeps the bounds ({bounds}), these come nearest: loosen one, or widen the space")
    for name, count in (summary.get("unvalued") or {}).items():
        found.append(f"{words.count(count, 'point')} without a finite {name}, on no front: `searchd trials` says why")
    return found


def _several(points: list[dict[str, Any]], trial: int) -> bool:
    return sum(1 for p in points if p["trial"] == trial) > 1
