"""`ri`: what a search was worth, beside random architectures of its own space."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from searchd import words
from searchd.cli.common import client_options, console, emit, json_option, study_argument
from searchd.client import Client
from searchd.errors import NotFound, SearchdError
from searchd.views.relative import accuracy_of, at_step, metric_of, summary
from spaces.baseline import AGAIN, LEAST_RANDOM, LEAST_SEEDS, RANDOM, name_of, once_more, random_architectures
from spaces.study import Study


@click.command("ri")
@study_argument
@click.option("--to", type=click.Path(file_okay=False), help="Write the two studies of the baseline there, to be run.")
@click.option("--trial", type=int, help="The trial to judge.  [the front's best by the metric]")
@click.option("--metric", help="The objective that says the accuracy.  [the first that can]")
@click.option("--random", "count", type=click.IntRange(LEAST_RANDOM), default=LEAST_RANDOM, show_default=True,
              help="Random architectures to train, with --to.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(LEAST_SEEDS), default=3, show_default=True,
              help="How often the found architecture is trained again, with --to.")  # fmt: skip
@click.option("--architecture", multiple=True, metavar="NAME",
              help="With --to: a parameter of the architecture; again for more.  [the task's, else all]")  # fmt: skip
@json_option
@client_options
def ri_command(
    study: str, to: str | None, trial: int | None, metric: str | None, count: int, seeds: int,
    architecture: tuple[str, ...], client: Client, as_json: bool,
) -> None:  # fmt: skip
    """Relative improvement over random architectures, with its spread over seeds (Yang et al., 2020).

    \b
    searchd ri digits --to baseline/          writes digits-random.yaml and digits-again.yaml
    searchd run baseline/digits-random.yaml   and digits-again.yaml: ordinary studies
    searchd ri digits                         compares
    """
    shown = client.show(study)
    name, goal = metric_of(shown["objectives"], metric)
    best = _winner(client, study, name, goal, trial)
    if to is not None:
        spec = Study.parse(client.spec(study))
        files = write(spec, best, Path(to), count, seeds, architecture)
        if as_json:
            emit({"files": [str(f) for f in files], "trial": best["trial"], "step": best["step"]})
            return
        steps = (count + seeds) * best["step"]
        click.echo(f"trial {best['trial']} at {shown['unit']} {best['step']}: {count} random architectures and {seeds} "
                   f"seeds, {words.count(steps, shown['unit'])}; next:")  # fmt: skip
        for file in files:
            click.echo(f"  searchd run {file}")
        click.echo(f"  searchd ri {study}")
        return
    answer = {"study": shown["name"], "metric": name, "trial": best["trial"], "step": best["step"]}
    found = {kind: _values(client, name_of(shown["name"], kind), name, goal, best["step"], study)
             for kind in (RANDOM, AGAIN)}  # fmt: skip
    if len(found[RANDOM]) < LEAST_RANDOM:
        raise SearchdError(f"{name_of(shown['name'], RANDOM)} has {len(found[RANDOM])} trials at step {best['step']}, "
                           f"but RI wants {LEAST_RANDOM} random architectures: let it end")  # fmt: skip
    answer |= summary(accuracy_of(name, goal, best["metrics"][name]), found[AGAIN], found[RANDOM])
    if as_json:
        emit(answer)
    else:
        _say(answer)


def write(
    study: Study, best: Mapping[str, Any], to: Path, count: int, seeds: int, architecture: tuple[str, ...]
) -> list[Path]:
    """The two study files of the baseline of a front point."""
    task = study.task.built_in
    own = (task.architecture if task is not None else ()) or study.space.names
    names = architecture or tuple({n.partition(".")[0] for n in own})
    for name in architecture:
        if name not in study.space.dump():
            raise NotFound(f"{name!r} is no parameter of this space: {', '.join(study.space.dump())}")
    if study.task.kind != "dnas" and not any(_varies(study, name) for name in names):
        fixed = ", ".join(sorted(names))
        raise SearchdError(
            f"no parameter of the architecture is searched in {study.name} ({fixed} are fixed), so there is nothing to"
            " draw: name one with --architecture"
        )
    path = best["metrics"].get("architecture") if study.task.kind == "dnas" else None
    made = (random_architectures(study, best["config"], best["step"], names, count),
            once_more(study, best["config"], best["step"], seeds, path))  # fmt: skip
    files = []
    to.mkdir(parents=True, exist_ok=True)
    for said in made:
        Study.parse(said)  # what is written can be read
        file = to / f"{said['study']}.yaml"
        file.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True))
        files.append(file)
    return files


def _winner(client: Client, study: str, name: str, goal: str, trial: int | None) -> dict[str, Any]:
    front = [p for p in client.front(study) if isinstance(p["metrics"].get(name), int | float)]
    if trial is not None:
        front = [p for p in front if p["trial"] == trial]
    if not front:
        what = "no front yet" if trial is None else f"no trial {trial} on its front"
        raise NotFound(f"study {study!r} has {what}; `searchd front {study}` shows what there is")
    return max(front, key=lambda p: accuracy_of(name, goal, p["metrics"][name]))


def _values(client: Client, baseline: str, name: str, goal: str, step: int, study: str) -> list[float]:
    try:
        curves = client.curves(baseline, name)
    except NotFound:
        raise NotFound(
            f"there is no study {baseline!r} here: `searchd ri {study} --to DIR` writes the baseline, run it first"
        ) from None
    return [accuracy_of(name, goal, value) for _, value in sorted(at_step(curves, step).items())]


def _say(answer: Mapping[str, Any]) -> None:
    out = console()
    again, random = answer["again"], answer["random"]
    low, high = min(answer["ri_seeds"]), max(answer["ri_seeds"])
    where = f"trial {answer['trial']} at step {answer['step']}, accuracy by {answer['metric']}"
    out.print(f"[bold]{answer['study']}[/]: {where}")
    out.print(f"found architecture, {len(again['values'])} seeds: {again['mean']:.3f} ± {again['sd']:.3f}")
    out.print(f"{len(random['values'])} random architectures: {random['mean']:.3f} ± {random['sd']:.3f}, "
              f"the best {random['best']:.3f}; {answer['beaten_by']} above the found one's mean")  # fmt: skip
    out.print(f"RI {answer['ri']:.4f} %, by seed {low:.4f} to {high:.4f} %")
    out.print(f"by what the search itself saw ({answer['found']:.3f}, the best of many): {answer['ri_found']:.4f} %")
    if not answer["told_apart"]:
        out.print("[yellow]the two means are within two standard errors: not told apart[/]")


def _varies(study: Study, name: str) -> bool:
    """Whether a parameter, or one below it, has more than one value."""
    slots = [slot for slot in study.space.slots if slot.name.partition(".")[0] == name]
    return any(slot.domain.count() > 1 for slot in slots)
