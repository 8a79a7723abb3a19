"""`workers`, `priority`, `logs`: who works on what, whose turn it is, and what a trial's jobs printed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import client_options, console, emit, json_option, study_argument
from searchd.client import Client


@click.command("workers")
@json_option
@client_options
def workers_command(client: Client, as_json: bool) -> None:
    """Every live worker slot, what it does and since when; and why studies wait."""
    rows = client.workers()
    if as_json:
        emit(rows)
        return
    waiting = [s for s in client.studies() if s.get("waits")]
    if not rows:
        click.echo("no live workers: `searchd worker --broker URL` starts some, `searchd run FILE` brings its own")
    else:
        console().print(_table(rows))
    for w in rows:
        if w.get("note"):
            console().print(Text(f"{w['name']} {w['note']}", style="yellow"))
    for s in waiting:
        console().print(Text.assemble((s["name"], "bold"), f" waits: {s['waits']}"), style="yellow")


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    labelled = any(w.get("labels") for w in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("worker", "state", "for", "doing", *(["labels"] if labelled else []), "holds", "class", "host", "pid"):
        table.add_column(name, overflow="fold")
    for w in rows:
        since = words.duration(max(0.0, time.time() - w["since"])) if w.get("since") else ""
        labels = [" ".join(f"{k}={v}" for k, v in sorted(w["labels"].items()))] if labelled else []
        table.add_row(w["name"], w["state"], since, w.get("doing") or w.get("job") or "", *labels,
                      str(len(w.get("holds", ()))), w["device_class"], w["host"], str(w["pid"]))  # fmt: skip
    return table


@click.command("priority")
@study_argument
@click.argument("weight", type=click.FloatRange(0, 1000, min_open=True), metavar="N")
@json_option
@client_options
def priority_command(study: str, weight: float, client: Client, as_json: bool) -> None:
    """The weight of a study where studies share worker slots: twice the weight, twice the slots."""
    answer = client.prioritize(study, weight)
    emit(answer) if as_json else click.echo(f"{study}: priority {weight:g}")


@click.command("logs")
@study_argument
@click.argument("trial", type=click.IntRange(0))
@json_option
@client_options
def logs_command(study: str, trial: int, client: Client, as_json: bool) -> None:
    """What a trial's jobs printed, how each attempt ended, and the traceback of what failed."""
    found = client.logs(study, trial)
    if as_json:
        emit(found)
        return
    if not found:
        click.echo(f"trial {trial} had no job yet")
    for part in found:
        _part(part)


def _part(part: Mapping[str, Any]) -> None:
    out = console()
    how = " ".join(filter(None, (part["status"], f"({part['reason']})" if part["reason"] else "")))
    where = f"on {part['worker']}" if part["worker"] else ""
    out.print(Text.assemble((f"{part['job']} ", "bold"), f"attempt {part['attempt']} {where} ", (how, "dim")))
    if part["output"]:
        click.echo(part["output"].rstrip())
    else:
        out.print(Text("nothing that it printed is kept here", style="dim"))
    if part["error"]:
        out.print(Text(part["error"].rstrip(), style="red"))


def unserved_by(workers: Sequence[Mapping[str, Any]], device: str, needs: Mapping[str, str]) -> str:
    """Why none of these workers can take the jobs of a study; empty: one can."""
    from searchd.waiting import unserved
    from searchd.wire import WorkerInfo

    return unserved(device, needs, [WorkerInfo.model_validate(w) for w in workers])
