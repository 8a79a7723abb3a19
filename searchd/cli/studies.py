"""`submit`, `list`, `show`, `watch`, `front`, `trials`, `log`: what there is and how it goes."""

from __future__ import annotations

import time
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import client_options, console, emit, emit_line, json_option, study_argument
from searchd.cli.fleet import unserved_by
from searchd.client import Client
from searchd.progress import STYLE, front_notes, front_table, panel

ALIVE = frozenset({"queued", "running", "verifying"})
STATES = ("waiting", "running", "paused", "done", "stopped", "failed", "vetoed")


@click.command("submit")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
@client_options
def submit_command(file: str, client: Client, as_json: bool) -> None:
    """Give a running daemon a study; answers its id."""
    from spaces.study import Study

    study = Study.load(file)
    identity = client.submit(study)
    if as_json:
        emit({"id": identity, "name": study.name})
    else:
        click.echo(f"{study.name}: submitted as {identity}; next: searchd watch {identity}")
        if lacks := unserved_by(client.workers(), study.device, study.needs):
            console(stderr=True).print(Text(f"it waits: {lacks}", style="yellow"))


@click.command("list")
@json_option
@client_options
def list_command(client: Client, as_json: bool) -> None:
    """Every study, newest first."""
    rows = client.studies()
    if as_json:
        emit(rows)
        return
    if not rows:
        click.echo("no studies yet: `searchd run FILE` makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("study", "left"), ("status", "left"), ("trials", "right"), ("steps", "right"),
                          ("front", "right"), ("time", "right"), ("best", "left")):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # a literal of rich's
    for s in rows:
        best = "  ".join(f"{k} {words.metric(k, v)}" for k, v in s["best"].items() if v is not None)
        alone = s["status"] in ALIVE and not client.alive(s["id"])
        status = Text(s["status"] + (", no daemon" if alone else ""), style=STYLE.get(s["status"], ""))
        table.add_row(s["name"], status, str(s["trials"]["total"]),
                      words.number(s["steps_done"]), str(s["front"]), words.duration(s["seconds"]), best)  # fmt: skip
    console().print(table)


@click.command("show")
@study_argument
@json_option
@client_options
def show_command(study: str, client: Client, as_json: bool) -> None:
    """One study at a glance: status, trials by state, steps, hypervolume, busy slots, how rungs agree."""
    from searchd.views.agreement import agreement, warnings
    from searchd.views.twins import told, twins

    summary, rungs = client.show(study), client.rungs(study)
    agree, alike = agreement(rungs), twins(rungs, len(summary["objectives"]))
    if as_json:
        emit({**summary, "rung_agreement": agree, "twins": {str(t): elder for t, elder in sorted(alike.items())}})
        return
    out = console()
    out.print(panel(summary, rungs, agree=agree))
    for line in [*warnings(agree, summary.get("unit", "step")), *told(alike, summary["trials"]["total"])]:
        out.print(Text(line, style="yellow"))
    if summary.get("waits"):
        out.print(Text(f"{_waits(summary)}: {summary['waits']}", style="yellow"))
    for line in words.again(summary.get("retrying") or ()):
        out.print(Text(line, style="yellow"))
    if summary.get("remark"):
        out.print(Text(summary["remark"], style="yellow"))
    if summary["reason"]:
        out.print(Text(summary["reason"], style="yellow"))
    if summary["status"] in ALIVE and not client.alive(study):
        out.print(Text(f"no daemon runs it now: {client.goes_on(study)}", style="yellow"))


@click.command("watch")
@study_argument
@click.option("--after", default=None, type=int, help="Start after this seq.  [the last 10 lines]")
@json_option
@client_options
def watch_command(study: str, after: int | None, client: Client, as_json: bool) -> None:
    """The decision log as it grows, until the study ends."""
    if after is None:
        entries = client.log(study)
        after = entries[-11]["seq"] if len(entries) > 10 else 0
    for entry in client.watch(study, after):
        if as_json:
            emit_line(entry)
        else:
            _entry(entry)
    if not as_json:
        summary = client.show(study)
        click.echo(f"{summary['name']} {summary['status']}: {words.count(summary['front'], 'point')} on the front")


@click.command("front")
@study_argument
@json_option
@client_options
def front_command(study: str, client: Client, as_json: bool) -> None:
    """The points that no other dominates."""
    points = client.front(study)
    if as_json:
        emit(points)
        return
    summary = client.show(study)
    if points:
        console().print(front_table(points, [o["name"] for o in summary["objectives"]]))
    else:
        click.echo("no points yet" if summary["status"] in {*ALIVE, "paused"} else "no point is on the front")
    for note in front_notes(points, summary):
        console().print(Text(note, style="yellow"))


@click.command("trials")
@study_argument
@click.argument("trial", type=int, required=False)
@click.option("--status", type=click.Choice(STATES), help="Only these.")
@json_option
@client_options
def trials_command(study: str, trial: int | None, status: str | None, client: Client, as_json: bool) -> None:
    """Every trial, or one trial's whole life: searchd trials digits 12."""
    if trial is not None:
        from searchd.views.twins import twins, whose

        detail, summary = client.trial(study, trial), client.show(study)
        elder = twins(client.rungs(study), len(summary["objectives"])).get(trial)
        if as_json:
            emit({**detail, "twin": elder})
            return
        _detail(detail, "" if elder is None else whose(elder, detail["status"], summary["scheduler"]))
        return
    rows = [t for t in client.trials(study) if status is None or t["status"] == status]
    if as_json:
        emit(rows)
        return
    names = [o["name"] for o in client.show(study)["objectives"]]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trial", justify="right")
    table.add_column("status")
    table.add_column("step", justify="right")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    family = any(t.get("parent") for t in rows)
    if family:
        table.add_column("parent", justify="right", no_wrap=True)
    table.add_column("config", overflow="fold")
    for t in rows:
        cells = [words.metric(m, (t["metrics"] or {}).get(m)) for m in names]
        cells += [words.parent(t.get("parent"))] if family else []
        told = Text(words.config(t["config"]), style="dim")
        if t["status"] in {"failed", "vetoed"} and t["reason"]:
            told = Text.assemble((f"{t['reason']}  ", "red"), told)
        table.add_row(str(t["trial"]), t["status"], str(t["step"]), *cells, told)
    console().print(table)


def _waits(summary: dict[str, Any]) -> str:
    return "no more now" if summary["jobs"]["running"] else "it waits"


def _detail(t: dict[str, Any], twin: str = "") -> None:
    out = console()
    out.print(Text.assemble((f"trial {t['trial']} ", "bold"), f"{t['status']} at step {t['step']}  ",
                            (t["why"], "dim")))  # fmt: skip
    out.print(Text(words.config(t["config"])))
    if t.get("parent"):
        out.print(Text(t["parent"]["text"], style="dim"))
    if twin:
        out.print(Text(twin, style="yellow"))
    if t["error"]:
        out.print(Text(t["error"].rstrip(), style="red"))
    if t["reports"]:
        names = list(dict.fromkeys(k for r in t["reports"] for k in r["metrics"]))
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("step", justify="right")
        for name in names:
            table.add_column(name, justify="right")
        for r in t["reports"]:
            table.add_row(str(r["step"]), *(words.metric(k, r["metrics"].get(k)) for k in names))
        out.print(table)
    if (kernels := t.get("kernels")) and kernels["lines"]:
        how = "as measured" if kernels["measured"] else "as expected, not measured yet"
        out.print(Text(f"kernels of {kernels['runtime']}, {how}:", style="dim"))
        for line in kernels["lines"]:
            out.print(Text(f"  {line}", style="yellow" if "no kernel" in line else "dim"))
    if t["files"]:
        out.print(Text("files: " + "  ".join(t["files"]), style="dim"))


@click.command("log")
@study_argument
@click.option("--after", default=None, type=int, help="Start after this seq.")
@click.option("--limit", "-n", type=click.IntRange(1), help="The last N lines; with --after the next N.")
@json_option
@client_options
def log_command(study: str, after: int | None, limit: int | None, client: Client, as_json: bool) -> None:
    """The decision log, oldest first."""
    entries = client.log(study)[-(limit or 0) :] if after is None else client.log(study, after, limit)
    if as_json:
        emit(entries)
        return
    for entry in entries:
        _entry(entry)


def _entry(entry: dict[str, Any]) -> None:
    clock = time.strftime("%H:%M:%S", time.localtime(entry["at"]))
    click.echo(click.style(f"{entry['seq']:>6}  {clock}", dim=True) + f"  {entry['text']}")
