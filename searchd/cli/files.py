"""`validate` and `plan`: what a study file says, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import client_options, console, emit, json_option, problems_of
from searchd.client import Client
from searchd.errors import Missing, Problem, SearchdError, StudyError

if TYPE_CHECKING:
    from spaces.study import Study

FILE = click.argument("file", type=click.Path(dir_okay=False))


def load_study(file: str) -> Study:
    """The study in a file whose search can be built too; StudyError with every problem."""
    from searchd.search.algorithms import check_options, make_searcher, scheduler_of
    from spaces.load import read_file
    from spaces.study import Study

    study = Study.load(file)
    try:
        check_options(study.search)
        scheduler_of(study)
        make_searcher(study.search, study.seed)
    except Missing:
        return study  # read here, run elsewhere
    except SearchdError as error:
        line = read_file(file).lines.get(("search",))
        raise StudyError([Problem("search", str(error).removeprefix("search."), line, file)]) from None
    return study


@click.command("validate")
@FILE
@json_option
@client_options
def validate_command(file: str, client: Client, as_json: bool) -> None:
    """Read a study file and name every mistake with its line.

    The studies of warm_start are looked for where --url or --root say.
    """
    try:
        study = load_study(file)
    except SearchdError as error:
        if not as_json:
            raise
        emit({"ok": False, **problems_of(error)})
        raise click.exceptions.Exit(2) from None
    from searchd.functions import lacking
    from searchd.plan import bound_notes
    from spaces.lint import lint_study

    named = lacking(study.task, Path(file).resolve().parent)
    look = [*([f"task: {named}"] if named else ()), *map(str, lint_study(study)), *bound_notes(study),
            *client.past_problems(study)]  # fmt: skip
    answer = {"ok": True, "study": study.name, "parameters": len(study.space.names), "problems": [], "look": look}
    if as_json:
        emit(answer)
    else:
        for finding in look:
            click.echo(f"look: {finding}")
        click.echo(f"{file}: fine. Study {study.name!r}, {answer['parameters']} parameters; next: searchd plan {file}")


@click.command("plan")
@FILE
@json_option
def plan_command(file: str, as_json: bool) -> None:
    """What a study will cost: brackets, trials per rung, steps, sub-spaces, doubtful spots. Nothing is run."""
    from searchd.plan import plan

    answer = plan(load_study(file))
    if as_json:
        emit(answer)
    else:
        _show(answer)


def _show(p: dict[str, Any]) -> None:
    out = console()
    out.print(f"[bold]{p['scheduler']} × {p['searcher']}[/]")
    races = p["scheduler"] == "acband"
    if races:
        out.print(f"{words.number(p['trials'])} trials, {words.number(p['steps'])} runs, each of one config on one "
                  "instance; fewer where a trial fails")  # fmt: skip
    elif p["steps"] is not None:
        fewest, most = p["steps_range"]
        about = "" if fewest == most else "about "
        total = f"{words.number(p['trials'])} trials, {about}{words.number(p['steps'])} {p['unit']}s"
        if about:
            total += f", {words.number(fewest)} to {words.number(most)} as the losses go"
        out.print(f"{total} ({words.number(p['steps_restart'])} if every promotion started over)")
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("epoch" if races else "bracket", justify="right")
    table.add_column("new trials @ instances" if races else "trials @ step")
    for number, bracket in enumerate(p["brackets"], start=races):
        rungs = "   ".join(f"{words.number(r['trials'])} @ {r['step']}" for r in bracket["rungs"])
        table.add_row(str(number), rungs)
    if p["brackets"]:
        out.print()
        out.print(table)
    out.print()
    size = p.get("size")
    out.print("space: continuous" if size in {None, float("inf")} else f"space: {words.number(size)} configs")
    if (acceptance := p.get("acceptance")) is not None:
        out.print(f"constraints accept {acceptance:.0%} of the configs drawn")
    for line in p.get("subspaces", []):
        out.print(Text(f"  {line}", style="dim"))
    for note in p.get("notes", []):
        out.print(Text(str(note), style="dim"))
    for finding in p.get("lint", []):
        out.print(Text(f"look: {finding}", style="yellow"))
