"""Studies that put a search into proportion: random architectures, and the found one again, under one protocol.

What a network is (its architecture) varies or is kept, all else (optimizer, batch size, …) is what the found config
says. Both are ordinary studies: every trial runs straight to the same step.
Source: Yang, Esperança, Carlucci (2020, ICLR), NAS evaluation is frustratingly hard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from spaces.builtin.dnas import LIMITS, plan_of
from spaces.errors import SpaceError
from spaces.space import Space
from spaces.study import Study

LEAST_RANDOM = 8
"""Fewer random architectures say little of the space."""
LEAST_SEEDS = 2
RANDOM, AGAIN = "random", "again"


def random_architectures(
    study: Study, config: Mapping[str, Any], step: int, names: Collection[str], trials: int = LEAST_RANDOM
) -> dict[str, Any]:
    """The study of random architectures: `names` are drawn as in `study`, everything else is what `config` says."""
    if study.task.kind == "dnas":
        space, constraints = _any_path(study, config)
    else:
        said = study.space.dump()
        space = {n: spec if n in names else _frozen(spec, n, config) for n, spec in said.items()}
        there = _readable(space)
        constraints = [c.text for c in study.space.constraints if c.reads <= there]
    return _study(study, RANDOM, space, constraints, step, trials)


def once_more(
    study: Study, config: Mapping[str, Any], step: int, seeds: int, architecture: Any = None
) -> dict[str, Any]:
    """The study that trains `config` anew with other seeds. `architecture`: what a search of the `dnas` task found."""
    space = {n: _frozen(spec, n, config) for n, spec in study.space.dump().items() if n not in _searched(study)}
    if architecture is not None:
        space["architecture"] = {"const": list(architecture)}
    return _study(study, AGAIN, space, [], step, seeds)


def name_of(study: str, kind: str) -> str:
    """The name of the baseline of a study; at most 64 characters, as every name."""
    return f"{study[: 63 - len(kind)]}-{kind}"


def _study(
    study: Study, kind: str, space: Mapping[str, Any], constraints: list[str], step: int, trials: int
) -> dict[str, Any]:
    said = study.dump()
    return {
        "study": name_of(study.name, kind), "space": dict(space), "constraints": constraints,
        "objectives": said["objectives"], "task": said["task"], "device": study.device,
        "search": {"scheduler": "fifo", "searcher": "random", "r": 1, "R": step, "unit": study.search.unit},
        "budget": {"trials": trials}, "seed": study.seed + 1,
    }  # fmt: skip


def _searched(study: Study) -> frozenset[str]:
    """Parameters of a search that training one architecture does not read."""
    return frozenset({*LIMITS, "target_ms"}) if study.task.kind == "dnas" else frozenset()


def _any_path(study: Study, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Of a differentiable search: every architecture of its layout alike."""
    layout = plan_of(study.task.options, study.space.nested(config)).layout
    gone = {*_searched(study), "architecture"}
    space = {n: _frozen(spec, n, config) for n, spec in study.space.dump().items() if n not in gone}
    every = list(dict.fromkeys(name for layer in layout.layers for name in layer.candidates))
    space["architecture"] = {"repeat": len(layout.layers), "choice": every}
    missing = [(i, n) for i, layer in enumerate(layout.layers) for n in every if n not in layer.candidates]
    return space, [f"architecture[{i}] != {name!r}" for i, name in missing]


def _frozen(spec: Mapping[str, Any], name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """One dumped parameter with the value that `config` has for it, and whatever hangs on it."""
    if "schedule" in spec:
        raise SpaceError(f"{name} has a schedule, which a baseline cannot keep: name it in --architecture")
    if spec.get("repeat") is not None:
        if isinstance(spec.get("choice"), Mapping):
            raise SpaceError(f"{name} repeats a choice with parameters, which a baseline cannot keep: name it in "
                             "--architecture")  # fmt: skip
        values, i = [], 0
        while f"{name}.{i}" in config:
            values.append(config[f"{name}.{i}"])
            i += 1
        return {"const": values}
    if "const" in spec:
        return dict(spec)
    value = config[name]
    options = spec.get("choice")
    if isinstance(options, Mapping):
        inside = options[value] or {}
        return {"choice": {value: {n: _frozen(s, f"{name}.{value}.{n}", config) for n, s in inside.items()}}}
    return {"const": list(value) if isinstance(value, list | tuple) else value}


def _readable(space: Mapping[str, Any]) -> set[str]:
    """Flat names and names of lists that a constraint over this space may read."""
    from spaces.parse import read_space
    from spaces.problems import Problems

    made = read_space(dict(space), [], Problems())
    names = set(made.names) if isinstance(made, Space) else set()
    return names | {n.rpartition(".")[0] for n in names if n.rpartition(".")[2].isdigit()}
