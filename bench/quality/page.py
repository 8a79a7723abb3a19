"""Puts the measured medians into docs/methods.md, between its two marks.

    python -m bench.quality.page
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bench.quality.problems import DESCRIBED, DEVICES, EARLY, OTHERS, PUBLIC, SUBNETS
from bench.quality.summarise import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
BEGIN, END = "<!-- measured: bench/quality/page.py -->\n", "<!-- end of measured -->\n"
SHOWN = (
    "auto+auto", "hyperband+tpe", "hyperband+bohb", "asha+tpe", "asha+random", "st-BORE", "optuna-gp", "optuna-tpe",
    "st-ASHA-1-5", "dehb", "random",
)  # fmt: skip
ON_SUBNETS = ("auto+auto", "fifo+mo-evolution", "optuna-tpe", "optuna-nsga2p20", "random")
ON_DEVICES = ("auto+auto", "fifo+tpe", "fifo+mo-evolution", "optuna-tpe", "optuna-nsga2p20", "random")


def lines(problems: Sequence[str], methods: Sequence[str]) -> list[str]:
    """A markdown table: median regret at the full budget, the best of a line in bold."""
    with (RESULTS / "table.csv").open() as file:
        cells = {(r["problem"], r["method"]): r for r in csv.DictReader(file)}
    found = [f"| problem | {' | '.join(f'`{m}`' for m in methods)} |", "| --- |" + " --- |" * len(methods)]
    for problem in problems:
        values = [cells.get((problem, m), {}).get("regret_100") for m in methods]
        least = min(float(v) for v in values if v is not None)
        shown = ["" if v is None else f"**{_short(v)}**" if float(v) == least else _short(v) for v in values]
        found.append(f"| {problem} | {' | '.join(shown)} |")
    return found


def regimes() -> list[str]:
    """The medians of `auto` on each device by what is known when, and its decision CPU."""
    with (RESULTS / "table.csv").open() as file:
        rows = {r["problem"]: r for r in csv.DictReader(file) if r["method"] == "auto+auto"}
    found = ["| device | latency known by training | known before | and 12 epochs as a first rung | decision CPU s |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for three in zip(DEVICES, DESCRIBED, EARLY, strict=True):
        cells = [rows[p] for p in three if p in rows]
        medians = " | ".join(_short(r["regret_100"]) for r in cells)
        found.append(f"| {three[0].partition('/')[2]} | {medians} | {', '.join(r['cpu_s'] for r in cells)} |")
    return found


def spent(problem: str, methods: Sequence[str]) -> str:
    """The decision CPU of methods on a problem, as a sentence."""
    with (RESULTS / "table.csv").open() as file:
        rows = {r["method"]: r for r in csv.DictReader(file) if r["problem"] == problem}
    named = ", ".join(f"`{m}` {float(rows[m]['cpu_s']):.1f} s" for m in methods if m in rows)
    return f"Decision CPU on {problem}, in medians: {named}."


def ranks(chosen: str) -> str:
    """Average ranks on a set of problems, as a sentence."""
    with (RESULTS / "ranks.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["set"] == chosen and r["at"] == "100"]
    named = ", ".join(f"`{r['method']}` {r['rank']}" for r in sorted(rows, key=lambda r: float(r["rank"])))
    first = rows[0]
    which = {"all": "all", "others": "the"}[chosen]
    more = "" if chosen == "all" else " of the second figure"
    return (f"Average ranks on {which} {first['problems']} problems{more} (critical difference "
            f"{first['critical_difference']}, Friedman p {first['friedman_p']}): {named}.")  # fmt: skip


def faster() -> str:
    """How much sooner `auto` reaches random's final answer, and its decision CPU."""
    with (RESULTS / "table.csv").open() as file:
        rows = {r["problem"]: r for r in csv.DictReader(file) if r["method"] == "auto+auto"}
    said = "; ".join(f"{p} {float(rows[p]['speed_up']):.1f} times, {rows[p]['cpu_s']} s" for p in PUBLIC)
    return f"`auto` reaches the final answer of random search sooner, and spends CPU on decisions, in medians: {said}."


def _short(value: str) -> str:
    return f"{float(value):.4f}"[1:] if float(value) < 1 else "1"


def main() -> None:
    said = (ranks("all"), "", ranks("others"), "", faster())
    parts = [
        *lines((*PUBLIC, *OTHERS), SHOWN), "", *said, "", *lines(DEVICES, ON_DEVICES), "", *regimes(), "",
        *lines(SUBNETS, ON_SUBNETS), "", spent(SUBNETS[0], ON_SUBNETS),
    ]  # fmt: skip
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n".join(parts) + "\n" + END + after)


if __name__ == "__main__":
    main()
