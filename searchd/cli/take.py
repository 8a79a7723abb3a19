"""`export` and `replay`: what one takes away from a study, and the proof of its decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from searchd.cli.common import FAILED, client_options, emit, json_option, study_argument
from searchd.client import Client
from searchd.errors import NotFound


@click.command("export")
@study_argument
@click.argument("trial", type=int, required=False)
@click.option("--to", type=click.Path(file_okay=False), help="Copy the model files of TRIAL (or of every front trial).")
@click.option("--optuna", "optuna_url", metavar="URL", help="Write an Optuna study there, e.g. sqlite:///digits.db.")
@click.option("--checkpoints", is_flag=True, help="With --to: copy the checkpoints of the training too.")
@json_option
@client_options
def export_command(
    study: str, trial: int | None, to: str | None, optuna_url: str | None, checkpoints: bool, client: Client,
    as_json: bool,
) -> None:  # fmt: skip
    """Copy models out, or write a study that optuna-dashboard opens.

    \b
    searchd export digits 12 --to model/
    searchd export digits --optuna sqlite:///digits-optuna.db
    """
    if (to is None) == (optuna_url is None):
        raise click.UsageError("give one of --to DIR and --optuna URL")
    if optuna_url is not None:
        from searchd.cli.optuna import write

        name, count = write(client, study, optuna_url)
        answer: dict[str, Any] = {"url": optuna_url, "study": name, "trials": count}
        text = f"{count} trials in {optuna_url} as {name!r}; next: optuna-dashboard {optuna_url}"
    else:
        folder = Path(str(to))
        files = _copy(client, study, trial, folder, checkpoints)
        answer = {"to": str(folder), "files": [str(f) for f in files]}
        text = "\n".join(str(f) for f in files)
    if as_json:
        emit(answer)
    else:
        click.echo(text)


def _copy(client: Client, study: str, trial: int | None, to: Path, checkpoints: bool) -> list[Path]:
    if trial is not None:
        return client.download(study, trial, to, checkpoints=checkpoints)
    trials = sorted({p["trial"] for p in client.front(study)})
    if not trials:
        raise NotFound(f"study {study!r} has no front yet; `searchd watch {study}` shows how far it is")
    return [path for n in trials for path in client.download(study, n, to / f"trial-{n}", checkpoints=checkpoints)]


@click.command("replay")
@study_argument
@click.option("--root", default=None, help="Folder of local studies.  [SEARCHD_ROOT, else out]")
@click.option("--database", envvar="SEARCHD_DATABASE", metavar="URL", help="Read this database instead.")
@json_option
def replay_command(study: str, root: str | None, database: str | None, as_json: bool) -> None:
    """Compute every recorded decision again from the log; names the first that differs. Exit code 1 if one does."""
    import contextlib
    import os

    from searchd.folder import Folder
    from searchd.lookup import find
    from searchd.replay import replay
    from searchd.store import open_store

    if database is not None and root is None:
        with contextlib.closing(open_store(database, readonly=True)) as store, store.reading() as reader:
            report = replay(reader, find(reader, study).id)
    else:
        folder = Folder(root or os.environ.get("SEARCHD_ROOT") or "out")
        with contextlib.closing(folder), folder.opened(study) as (reader, identity):
            report = replay(reader, identity)
    differences = [str(d) for d in report.differences]
    if as_json:
        emit({"study": study, "events": report.events, "decisions": report.decisions, "differences": differences,
              "rebased": report.rebased or None, "taken": report.taken})  # fmt: skip
    elif not differences:
        taken = f"{report.taken} decisions before the rebase at seq {report.rebased} taken as recorded, "
        click.echo(f"{study}: {report.events} events, {taken if report.rebased else ''}{report.decisions} decisions "
                   "computed again, no difference")  # fmt: skip
    else:
        click.echo(f"{study}: {report.events} events; the log and the search differ:\n" + "\n".join(differences))
    if differences:
        raise click.exceptions.Exit(FAILED)
