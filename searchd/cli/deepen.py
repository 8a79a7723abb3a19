"""`deepen`: raise the maximum resource of a study; the price first."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import FAILED, INTERRUPTED, client_options, console, emit, json_option, study_argument
from searchd.client import Client
from searchd.progress import Progress


@click.command("deepen")
@study_argument
@click.option("--max-resource", "-R", required=True, type=click.IntRange(2), help="The new R: the old one times eta^k.")
@click.option("--trials", type=click.IntRange(1), help="A new limit on the number of trials with it.")
@click.option("--yes", "-y", is_flag=True, help="Do it without asking.")
@click.option("--slots", type=click.IntRange(1, 64), help="Workers, where this starts them.  [parallel, else 2]")
@json_option
@client_options
def deepen_command(
    study: str, max_resource: int, trials: int | None, yes: bool, slots: int | None, client: Client, as_json: bool
) -> None:
    """Train further than R: shows what it costs, then goes on from every checkpoint.

    A study that a daemon runs goes on there. One that `searchd run` left in a folder is run here to its new end.
    Without --yes and without a terminal nothing is changed.
    """
    price = client.deepening(study, max_resource, trials)
    screen = console(stderr=as_json)
    if not as_json:
        show(price)
    if not yes and (as_json or not sys.stdin.isatty() or not click.confirm("go on?")):
        if as_json:
            emit({"price": price, "deepened": False})
        else:
            click.echo("nothing was changed; --yes does it")
        return
    folder = None if client.alive(study) else client.folder(study)
    if folder is None:
        answer = client.deepen(study, max_resource, trials)
        if as_json:
            emit({"price": price, "deepened": True, **answer})
        else:
            click.echo(f"{study}: {answer['status']}, R is {max_resource} now; `searchd watch {study}` shows it")
        return
    _run(folder, price, max_resource, trials, slots, screen, as_json)


def _run(
    folder: Path, price: dict[str, Any], R: int, trials: int | None, slots: int | None, screen: Any, as_json: bool
) -> None:
    from searchd.cli.run import show_outcome
    from searchd.local import deepen_local

    with Progress(screen, quiet=False) as progress:
        outcome = deepen_local(folder, R, trials, slots=slots, progress=progress)
    if as_json:
        emit({"price": price, "deepened": True, "folder": str(outcome.folder), "interrupted": outcome.interrupted,
              "summary": outcome.summary, "front": outcome.front, "no_report": outcome.report})  # fmt: skip
    else:
        show_outcome(screen, outcome, "FILE")
    if outcome.interrupted:
        raise click.exceptions.Exit(INTERRUPTED)
    if outcome.summary["status"] == "faulted" or not outcome.front:
        raise click.exceptions.Exit(FAILED)


def show(price: dict[str, Any]) -> None:
    """The price for people."""
    out = console()
    extra, fresh, unit = price["extra"], price["fresh"], price["unit"]
    about = "" if price["exact"] else "about "
    out.print(f"[bold]{price['study']}[/]: R = {price['from']} -> {price['to']}, {price['scheduler']}")
    goes = "goes on from its checkpoint" if price["resumed"] == 1 else "go on from their checkpoints"
    out.print(f"{about}{words.count(extra['trials'], 'new trial')}, {words.number(price['resumed'])} {goes}: "
              f"{words.count(extra['evaluations'], 'job')}, {words.count(extra['steps'], unit)}")  # fmt: skip
    saved = f" ({extra['steps'] / fresh['steps']:.0%} of it)" if fresh["steps"] else ""
    out.print(f"a fresh search to R = {price['to']}: {words.number(fresh['trials'])} trials, "
              f"{words.number(fresh['steps'])} {unit}s{saved}")  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("to step", "jobs", "new", "promoted"):
        table.add_column(name, justify="right")
    for rung in price["rungs"]:
        table.add_row(*(words.number(rung[key]) for key in ("step", "trials", "new", "promoted")))
    if price["rungs"]:
        out.print()
        out.print(table)
    for note in price["notes"]:
        out.print(Text(str(note), style="dim"))
