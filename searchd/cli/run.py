"""`run`: one study on this machine, from its file to a front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from searchd import words
from searchd.cli.again import as_json as as_rows
from searchd.cli.again import differs, reproduced, show
from searchd.cli.common import FAILED, INTERRUPTED, console, emit, json_option
from searchd.cli.files import load_study
from searchd.progress import Progress, front_notes, front_table

SHOWN_FAILURES = 3


@click.command("run")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--out", default="out", show_default=True, help="Where the study's folder goes: OUT/NAME.")
@click.option("--slots", type=click.IntRange(1, 64), help="Workers at a time.  [the study's parallel, else 2]")
@click.option("--fresh", is_flag=True, help="Forget what the folder holds and start anew.")
@click.option("--rebase", is_flag=True, help="Go on even if another version decided so far; what was trained stays.")
@click.option("--path", type=click.Path(file_okay=False, exists=True),
              help="Where a function or a program of yours lies.  [FILE's folder]")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="No progress, the front only.")
@json_option
def run_command(
    file: str, out: str, slots: int | None, fresh: bool, rebase: bool, path: str | None, quiet: bool, as_json: bool
) -> None:  # fmt: skip
    """Run a study on this machine: broker, daemon, workers, then the front. Run it again to resume.

    Ctrl-C ends it cleanly (twice: at once); nothing is lost.
    """
    from searchd.local import Outcome, run_local

    load_study(file)  # what `validate` refuses is refused here with the same words, before anything starts
    screen = console(stderr=as_json)
    with Progress(screen, quiet=quiet) as progress:
        outcome: Outcome = run_local(file, out=out, slots=slots, fresh=fresh, rebase=rebase, progress=progress,
                                     code=path)  # fmt: skip
    again = None if outcome.interrupted else reproduced(outcome.folder)
    rows, libraries = again or ([], {})
    if as_json:
        emit({"study": outcome.summary["name"], "folder": str(outcome.folder), "interrupted": outcome.interrupted,
              "summary": outcome.summary, "front": outcome.front, "no_report": outcome.report,
              **({"reproduced": as_rows(rows)} if again else {})})  # fmt: skip
    else:
        show_outcome(screen, outcome, file)
        if again:
            show(screen, rows, libraries)
    if outcome.interrupted:
        raise click.exceptions.Exit(INTERRUPTED)
    if outcome.summary["status"] == "faulted" or not outcome.front or differs(rows):
        raise click.exceptions.Exit(FAILED)


def show_outcome(out: Console, outcome: Any, file: str) -> None:
    """How a run ended, and its front."""
    summary, front, folder = outcome.summary, outcome.front, outcome.folder
    if outcome.interrupted:
        out.print(f"interrupted after {words.number(summary['steps_done'])} steps; nothing is lost: "
                  f"`searchd run {file}` goes on")  # fmt: skip
        return
    trials = summary["trials"]
    out.print(Text.assemble((f"{summary['name']} ", "bold"), f"{summary['status']}: {trials.get('total', 0)} trials, "
              f"{words.number(summary['steps_done'])} {summary.get('unit', 'step')}s in "
              f"{words.duration(summary['seconds'])}, {words.count(len(front), 'point')} on the front"))  # fmt: skip
    if summary["status"] == "faulted" or not (front or outcome.failures or summary.get("unvalued")):
        out.print(Text(summary.get("reason") or f"no trial finished; `searchd trials {summary['name']}` says why",
                       style="red"))  # fmt: skip
    if outcome.failures:
        _show_failures(out, outcome.failures, folder, style="yellow" if front else "red")
    if front:
        out.print()
        out.print(front_table(front, [o["name"] for o in summary["objectives"]]))
    for note in front_notes(front, summary):
        out.print(Text(note, style="yellow"))
    out.print()
    if outcome.report:
        out.print(Text(outcome.report, style="yellow"))
    else:
        out.print(f"{folder}/report.html   {folder}/front.csv   {folder}/front.png")
    export = f"   searchd export {folder.name} TRIAL --to DIR" if front else ""
    out.print(Text(f"next: searchd ui   searchd show {folder.name}{export}", style="dim"))


def _show_failures(out: Console, failures: Sequence[tuple[int, str]], folder: Path, style: str) -> None:
    """What went wrong, the most frequent first, and where the rest is."""
    for count, why in failures[:SHOWN_FAILURES]:
        out.print(Text(f"{count} {'trial' if count == 1 else 'trials'} failed: {why[:300]}", style=style))
    if rest := sum(count for count, _ in failures[SHOWN_FAILURES:]):
        out.print(Text(f"{rest} more failed of other things", style=style))
    out.print(Text(f"all of it: searchd trials {folder} --status failed, searchd trials {folder} N", style=style))
