"""`pause`, `resume`, `stop`, `inject`, `rebase`: what changes a study that a daemon runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml

from searchd.cli.common import FAILED, client_options, emit, json_option, study_argument
from searchd.client import Client
from searchd.errors import SpaceError


def _say(answer: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        emit(answer)
    else:
        click.echo(text)


@click.command("pause")
@study_argument
@json_option
@client_options
def pause_command(study: str, client: Client, as_json: bool) -> None:
    """Start no new jobs; running ones go on to their end."""
    _say(client.pause(study), as_json, f"{study}: paused; `searchd resume {study}` goes on")


def _budget(function: Callable[..., Any]) -> Callable[..., Any]:
    for flag, kind, text in (
        ("--parallel", click.IntRange(1), "Jobs at a time."),
        ("--steps", click.IntRange(1), "New number of steps."),
        ("--hours", click.FloatRange(0, min_open=True), "New number of hours."),
        ("--trials", click.IntRange(1), "New number of trials."),
    ):
        function = click.option(flag, type=kind, help=text)(function)
    return function


@click.command("resume")
@study_argument
@_budget
@json_option
@client_options
def resume_command(study: str, client: Client, as_json: bool, **budget: Any) -> None:
    """Go on with a paused or stopped study; with a new budget also with one that has ended."""
    wanted = {k: v for k, v in budget.items() if v is not None}
    if wanted:
        old = client.spec(study).get("budget") or {}
        answer = client.extend(study, **{k: v for k, v in {**old, **wanted}.items() if v is not None})
        if answer["status"] in {"paused", "stopped"}:
            answer = client.resume(study)
    else:
        answer = client.resume(study)
    _say(answer, as_json, f"{study}: {answer['status']}")


@click.command("stop")
@study_argument
@click.option("--trial", type=click.IntRange(0), help="Stop this trial only.")
@json_option
@client_options
def stop_command(study: str, trial: int | None, client: Client, as_json: bool) -> None:
    """End the search of a study (its front is still verified), or give up on one trial."""
    if trial is not None:
        _say(client.stop_trial(study, trial), as_json, f"{study}: trial {trial} stops at its next report")
        return
    _say(client.stop(study), as_json, f"{study}: stopping; running jobs end at their next report")


@click.command("inject")
@study_argument
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--file", "file", type=click.Path(exists=True, dir_okay=False), help="A config as JSON or YAML.")
@json_option
@client_options
def inject_command(study: str, values: tuple[str, ...], file: str | None, client: Client, as_json: bool) -> None:
    """Make a config of yours the next trial.

    searchd inject digits width=16 depth=1 bits.0=4 optimizer=adamw optimizer.adamw.lr=0.003
    """
    given: dict[str, Any] = {}
    if file is not None:
        loaded = _read(Path(file).read_text())
        if not isinstance(loaded, dict):
            raise SpaceError(f"{file} holds a {type(loaded).__name__}; a config is a mapping of names to values")
        given |= loaded
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.UsageError(f"{value!r} is not NAME=VALUE")
        given[name] = _read(text)
    if not given:
        raise click.UsageError("no values: give NAME=VALUE pairs or --file")
    trial = client.inject(study, given)
    _say({"trial": trial}, as_json, f"{study}: that is trial {trial}")


@click.command("rebase")
@study_argument
@click.option("--yes", is_flag=True, help="Do it; without, only say what it means.")
@json_option
@client_options
def rebase_command(study: str, yes: bool, client: Client, as_json: bool) -> None:
    """Go on with a study whose log another version decided: what was trained stays.

    This version decides from there on. Jobs in flight end, their trials go on from their checkpoints. Exit code 0 when
    there is nothing to rebase, 1 when there is and --yes was not given.
    """
    answer = client.rebase(study)
    if answer["difference"] is None:
        _say(answer, as_json, answer["text"])
        return
    kept = f"{answer['trials']} trials with {answer['steps']} steps are kept, {len(answer['jobs'])} jobs in flight end"
    if not yes:
        _say(answer, as_json, f"{answer['text']}\nwith --yes this version decides from here on; {kept}")
        raise click.exceptions.Exit(FAILED)
    answer = client.rebase(study, apply=True)
    _say(answer, as_json, f"{study}: {answer['status']}, rebased; {kept}")


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SpaceError(f"{text!r} is neither JSON nor YAML: {error}") from error
