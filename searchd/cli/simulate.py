"""`simulate`: a study in virtual time, under other schedulers, searchers and fleets, in a world of one's choice."""

from __future__ import annotations

import os
import statistics
import sys
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import client_options, console, emit, json_option, study_argument
from searchd.client import Client
from searchd.errors import SearchdError, StudyError

if TYPE_CHECKING:
    from searchd.simulator import World
    from spaces.study import Study

_SYNTHETIC = ("seed", "noise", "crossing", "diverging", "seconds", "spread", "best")


@click.command("simulate")
@study_argument
@click.option("--world", "said", required=True, metavar="WORLD", help="See above.")
@click.option("--workers", default=4, show_default=True, type=click.IntRange(1), help="Slots of the fleet.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Virtual seconds.  [until the search is over]")
@click.option("--scheduler", "schedulers", multiple=True, help="Instead of the study's; again to compare several.")
@click.option("--searcher", "searchers", multiple=True, help="Instead of the study's; again to compare several.")
@click.option(
    "--seeds", default=1, show_default=True, type=click.IntRange(1), help="Runs a pair, from the study's seed."
)
@click.option("--lifetime", type=click.FloatRange(0, min_open=True), help="Mean seconds until a busy worker dies.")
@click.option("--straggling", default=0.0, type=click.FloatRange(0, 1), help="Share of jobs five times slower.")
@click.option("--speeds", default="1", metavar="A,B,…", help="Relative speeds of the workers, taken in turn.")
@json_option
@client_options
def simulate_command(
    study: str, said: str, workers: int, seconds: float | None, schedulers: tuple[str, ...], searchers: tuple[str, ...],
    seeds: int, lifetime: float | None, straggling: float, speeds: str, client: Client, as_json: bool,
) -> None:  # fmt: skip
    """What a study would cost and bring in virtual time; nothing is trained.

    \b
    STUDY is a study file, or a study that was run (name, id or folder). WORLD is what training would be:
      log                      the study's own log: "what would another scheduler have cost?"; log:STUDY another's
      synthetic                learning curves with a known optimum; synthetic:noise=0.1,crossing=1,diverging=0.1
      FILE.npz                 recorded curves (docs/simulator.md has the format); FILE.npz:PREFIX one task of several
      module:Class             a World of yours; Class takes the study, or nothing
    """
    from searchd.search.algorithms import SCHEDULERS, SEARCHERS, find
    from searchd.simulator import Faults, Log, simulate, summary

    if listed := [name for name in (*schedulers, *searchers) if "," in name]:
        raise click.UsageError(f"{listed[0]!r} is no name: give --scheduler and --searcher again for each")
    try:
        for name in schedulers:
            find(SCHEDULERS, "scheduler", name)
        for name in searchers:
            find(SEARCHERS, "searcher", name)
    except SearchdError as error:
        raise click.UsageError(str(error)) from None
    spec = _study(study, client)
    world = _world(said, spec, study, client)
    if isinstance(world, Log) and searchers:
        raise click.UsageError("a log has its own configs, in their order: leave --searcher out")
    try:
        faults = Faults(lifetime_s=lifetime, straggling=straggling, speeds=tuple(map(float, speeds.split(","))))
    except ValueError:
        raise click.UsageError(f"--speeds needs numbers with commas between, such as 1,0.5; not {speeds!r}") from None
    rows: list[dict[str, Any]] = []
    logged = isinstance(world, Log)
    pairs, apart = _pairs(spec, schedulers, searchers, logged=logged)
    for scheduler, searcher in pairs:
        for seed in range(spec.seed, spec.seed + seeds):
            run = simulate(spec, world, workers=workers, seconds=seconds, seed=seed, scheduler=scheduler,
                           searcher=world.searcher if isinstance(world, Log) else searcher, faults=faults)  # fmt: skip
            row = summary(run)
            rows.append({**row, "searcher": "the log's" if logged else row["searcher"]})
    if as_json:
        emit({"study": spec.name, "world": said, "runs": rows, "left_out": apart})
    else:
        _show(rows, spec)
        for note in apart:
            console().print(Text(f"left out: {note}", style="dim"))


def _pairs(
    study: Study, schedulers: tuple[str, ...], searchers: tuple[str, ...], *, logged: bool
) -> tuple[list[tuple[str | None, str | None]], list[str]]:
    """Every scheduler with every searcher, and which of several pairs are left out since they do not go together.

    The error of `validate` where none is left."""
    from searchd.simulator.studies import with_pair

    if logged and "pbt" in schedulers and study.search.scheduler != "pbt":
        raise click.UsageError("pbt needs configs near those whose weights it takes; a log has its own: leave it out")
    found: list[tuple[str | None, str | None]] = []
    apart: list[str] = []
    problem: StudyError | None = None
    for scheduler in schedulers or (None,):
        for searcher in searchers or (None,):
            try:
                with_pair(study, scheduler=scheduler, searcher=searcher, suggested=logged)
            except StudyError as error:
                problem = error
                pair = f"{scheduler or study.search.scheduler} × {searcher or study.search.searcher}"
                apart.append(f"{pair}: {'; '.join(p.message for p in error.problems)}")
            else:
                found.append((scheduler, searcher))
    if problem is not None and not found:
        raise problem
    return found, apart


def _study(name: str, client: Client) -> Study:
    from searchd.cli.files import load_study
    from spaces.study import Study

    file = Path(name).is_file() or name.endswith((".yaml", ".yml"))
    return load_study(name) if file else Study.parse(client.spec(name))


def _world(said: str, study: Study, name: str, client: Client) -> World:
    """The world that `--world` names; a usage error for what none is."""
    from searchd.simulator import Log, Synthetic
    from searchd.simulator import Table as Recorded

    kind, _, rest = said.partition(":")
    if kind == "log":
        if not rest and Path(name).is_file():
            raise click.UsageError(f"{name} is a file, and has no log: use --world log:STUDY with a study that was run")
        return Log.read(client, rest or name)
    if kind == "synthetic":
        return Synthetic(study, **_options(rest))
    if kind.endswith(".npz"):
        return Recorded.load(kind, study.space, rest)
    if rest and all(part.isidentifier() for part in kind.split(".")) and rest.isidentifier():
        return _own(kind, rest, study)
    raise click.UsageError(f"no world {said!r}: there are log, synthetic, FILE.npz and module:Class")


def _options(said: str) -> dict[str, Any]:
    """`noise=0.1,crossing=1` as options of the synthetic world."""
    found: dict[str, Any] = {}
    for part in filter(None, said.split(",")):
        key, _, value = part.partition("=")
        if key not in _SYNTHETIC:
            raise click.UsageError(f"synthetic has no option {key!r}: there are {', '.join(_SYNTHETIC)}")
        try:
            found[key] = int(value) if key == "seed" else float(value)
        except ValueError:
            kind = "whole number" if key == "seed" else "number"
            raise click.UsageError(f"synthetic: {key} needs a {kind}, not {value!r}") from None
    return found


def _own(module: str, name: str, study: Study) -> World:
    """A class of the user's, from the folder we are in or from what is installed."""
    sys.path.append(os.getcwd())
    try:
        made = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SearchdError(f"no world {module}:{name}: {error}") from error
    finally:
        sys.path.remove(os.getcwd())
    if not (isinstance(made, type) and hasattr(made, "train")):
        raise SearchdError(f"{module}:{name} is no world: it needs a method train(trial, config, since, until)")
    takes = [p for p in signature(made).parameters.values() if p.default is Parameter.empty and p.kind < p.VAR_KEYWORD]
    world: World = made(study) if takes else made()
    return world


def _show(rows: list[dict[str, Any]], study: Study) -> None:
    """One line a pair of algorithms: medians over its seeds."""
    objective = study.objectives[0]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scheduler × searcher")
    best_name, front_name = f"best {objective.name}, any step", "on the front"
    for name in ("seconds", "worker time", "steps", "trials", best_name, "found after", front_name, "decisions"):
        table.add_column(name, justify="right")
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        pairs.setdefault((row["scheduler"], row["searcher"]), []).append(row)
    for (scheduler, searcher), runs in pairs.items():
        best, front = ([r[key] for r in runs if r[key] is not None] for key in ("best", "front_best"))

        def middle(key: str, runs: list[dict[str, Any]] = runs) -> float:
            return float(statistics.median(r[key] for r in runs))

        table.add_row(
            f"{scheduler} × {searcher}", words.duration(middle("seconds")), words.duration(middle("busy_s")),
            words.number(round(middle("steps"))), words.number(round(middle("trials"))),
            words.metric(objective.name, statistics.median(b["value"] for b in best)) if best else "none",
            words.duration(statistics.median(b["seconds"] for b in best)) if best else "never",
            words.metric(objective.name, statistics.median(b["value"] for b in front)) if front else "none",
            f"{middle('decision_cpu_s'):.2g} s",
        )  # fmt: skip
    out = console()
    out.print(table)
    if any(len(runs) > 1 for runs in pairs.values()):
        out.print(Text(f"medians of {len(rows) // len(pairs)} seeds", style="dim"))
    if any(r["guessed"] for r in rows):
        guessed, steps = sum(r["guessed"] for r in rows), sum(r["steps"] for r in rows)
        said = f"{guessed / max(steps, 1):.0%} of the steps were never recorded: their curves and times are guesses"
        out.print(Text(f"{said}, and no best was taken from them", style="yellow"))
    for note in dict.fromkeys(r["note"] for r in rows if r["note"]):
        out.print(Text(note, style="dim"))
