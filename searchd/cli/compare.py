"""`compare`: the options of one choice side by side."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import client_options, console, emit, json_option, study_argument
from searchd.client import Client
from searchd.errors import StudyError


@click.command("compare")
@study_argument
@click.argument("parameter")
@click.option("--metric", help="What to compare by.  [the first objective]")
@click.option("--step", type=click.IntRange(1), help="After which step.  [the deepest that was reached]")
@json_option
@client_options
def compare_command(
    study: str, parameter: str, metric: str | None, step: int | None, client: Client, as_json: bool
) -> None:
    """The options of a choice side by side: best, quartiles, what diverged, and whether the best two differ."""
    found = client.compare(study, parameter, metric, step)
    if as_json:
        emit(found)
        return
    name = found["metric"]
    out = console()
    out.print(Text(f"{name} after {found['unit']} {found['step']}, {found['goal']}", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(parameter, min_width=max(len(str(o["option"])) for o in found["options"]))
    for head in ("trials", "judged", "steps", "diverged", "failed", "best", "q1", "median", "q3", "trial"):
        table.add_column(head, justify="right", no_wrap=True)
    for o in found["options"]:
        counts = [str(o["trials"]), str(o["judged"]), words.number(o["steps"]), str(o["diverged"]), str(o["failed"])]
        values = [words.metric(name, o[k]) for k in ("best", "q1", "median", "q3")]
        table.add_row(str(o["option"]), *counts, *values, "" if o["trial"] is None else str(o["trial"]))
    out.print(table)
    out.print(Text(verdict(found), style="dim"))
    if uneven(found["options"]):
        said = "unequal numbers of trials, and more of them find a better best by chance"
        if can_be_balanced(client.spec(study), parameter):
            said = f"unequal numbers of trials; search.options: {{balanced: {parameter}}} gives each option as many"
        out.print(Text(said, style="yellow"))


def verdict(found: dict[str, Any]) -> str:
    """The test in one sentence."""
    test = found["test"]
    if test is None:
        said = ", ".join(f"{o['option']} {o['judged']}" for o in found["options"][:2])
        return f"no test: it needs two judged trials or more of each of the best two options, and there are {said}"
    pair = f"{test['first']} and {test['second']}"
    if not test["apart"]:
        return f"{pair}, the best two, are not told apart by a rank test over their trials (p = {test['p']:.2g})"
    return f"{pair}, the best two, differ: {test['better']} has the better trials by a rank test (p = {test['p']:.2g})"


def can_be_balanced(spec: dict[str, Any], parameter: str) -> bool:
    """Whether the study would be one with this parameter balanced, and is not yet."""
    from spaces.study import Study

    search = spec.get("search") or {}
    options = search.get("options") or {}
    if options.get("balanced") == parameter:
        return False
    try:
        Study.parse({**spec, "search": {**search, "options": {**options, "balanced": parameter}}})
    except StudyError:
        return False
    return True


def uneven(options: list[dict[str, Any]]) -> bool:
    """Whether an option had two trials or more than another: it was tuned better for that alone."""
    trials = [o["trials"] for o in options]
    return bool(trials) and max(trials) - min(trials) > 1
