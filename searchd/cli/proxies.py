"""`proxies`: what zero-cost proxies would have known of the trials of a study."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import click
from rich.table import Table

from searchd.cli.common import client_options, console, emit, json_option, study_argument
from searchd.client import Client
from searchd.errors import Missing, NotFound, Refused
from searchd.views.proxies import LEAST, verdicts
from searchd.views.relative import at_step
from spaces.study import Study

METRIC = "val_error"


@click.command("proxies")
@study_argument
@click.option("--step", type=click.IntRange(1),
              help="Whose errors to compare with.  [the deepest with 30 trials, else the one with most]")  # fmt: skip
@json_option
@client_options
def proxies_command(study: str, step: int | None, client: Client, as_json: bool) -> None:
    """Do zero-cost proxies rank the trials of a classify study as training did? Who may veto, and why not.

    Every proxy is computed here, on networks as they are initialised; nothing of the study is changed.
    """
    spec = Study.parse(client.spec(study))
    if spec.task.kind != "classify":
        raise Refused(f"the proxies are those of the classify task's networks, but {study!r} runs {spec.task.name}")
    curves = client.curves(study, METRIC)
    at = _deepest(curves) if step is None else step
    values = at_step(curves, at)
    if len(values) < 2:
        what = f"{len(values)} trials with a {METRIC} at step {at}"
        raise NotFound(f"study {study!r} has {what}: let it run, or give --step")
    configs = {t["trial"]: t["config"] for t in client.trials(study)}
    trials = sorted(values)
    nested = [spec.space.nested({k: _plain(v) for k, v in configs[t].items()}) for t in trials]
    found = verdicts(_scores(spec.task.options, nested), [100.0 - values[t] for t in trials])
    if as_json:
        emit({"study": spec.name, "step": at, "trials": len(trials), "proxies": found})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("proxy", "left"), ("tau", "right"), ("spearman", "right"), ("beats", "right"),
                          ("may veto", "left")):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal of rich's
    for row in found:
        verdict = "yes" if row["may_veto"] else f"no: {row['why']}"
        table.add_row(row["proxy"], _number(row["tau"]), _number(row["spearman"]), _share(row["beats"]), verdict)
    out = console()
    out.print(f"[bold]{spec.name}[/]: {len(trials)} trials, {METRIC} at {spec.search.unit} {at}")
    out.print(table)
    if len(trials) >= LEAST:
        out.print("beats: share of resamples of the trials in which it beats both baselines; near 50 % is a coin")


def _deepest(curves: list[dict[str, Any]]) -> int:
    """The deepest step with enough trials, else the one with most."""
    counts = Counter(c["step"] for c in curves if c["value"] is not None)
    enough = [s for s, n in counts.items() if n >= LEAST]
    if enough:
        return int(max(enough))
    return int(max(counts, key=lambda s: (counts[s], s))) if counts else 1


def _scores(options: dict[str, Any], configs: list[dict[str, Any]]) -> list[dict[str, float | None]]:
    """What `workers.proxies` says of the configs; a program of its own, for it needs torch."""
    asked = json.dumps({"options": options, "configs": configs})
    done = subprocess.run([sys.executable, "-P", "-m", "workers.proxies"], input=asked, capture_output=True, text=True,
                          check=False)  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        why = said[-1] if said else "no word"
        if "ModuleNotFoundError" in why:
            raise Missing(f"the proxies are computed with torch ({why}): pip install 'searchd[worker]'")
        raise Refused(f"the proxies could not be computed: {why}")
    answer: list[dict[str, float | None]] = json.loads(done.stdout)
    return answer


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
