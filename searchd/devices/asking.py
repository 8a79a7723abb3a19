"""What a profile job is asked for: the distinct operators that a study's configs can have, and whole architectures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from numpy.random import Generator, Philox

from searchd.errors import Refused, SpaceError
from spaces.chains import occurrences
from spaces.describe import drawn
from spaces.operators import Operator
from spaces.rules import kind, size
from spaces.study import Study

DRAWS = 3000
MOST_OPERATORS = 800
"""Those that are met most often. Others of the same kinds are predicted by what they do (`spaces.rules`)."""
ARCHITECTURES = 80
MOST_ARCHITECTURES = 100


def asked(study: Study, architectures: int = ARCHITECTURES, seed: int = 0, runtime: str = "") -> dict[str, Any]:
    """`operators` [fields], and `architectures` [{nested, exit, counts}]: random configs with operators of their own,
    each up to one of its exits; of a config that brings many networks, one of them. Refused for a task whose operators
    nobody knows, or that the `runtime` cannot time, and for a space that is empty."""
    if not 1 <= architectures <= MOST_ARCHITECTURES:
        raise Refused(f"{architectures} architectures: give 1 to {MOST_ARCHITECTURES}; 20 are enough where latency is "
                      "additive")  # fmt: skip
    check_known(study, runtime)
    rng = Generator(Philox(key=seed))
    often: Counter[Operator] = Counter()
    found: list[dict[str, Any]] = []
    seen: set[tuple[tuple[str, float], ...]] = set()
    for _ in range(DRAWS):
        config = study.space.sample(rng)
        try:
            nested, chains = drawn(study.task, study.space, config, rng)
        except SpaceError:
            continue
        often.update({operator for chain in chains for operator in chain})
        if len(found) < architectures:
            exit_ = int(rng.integers(len(chains)))
            counts = occurrences(chains, exit_)
            name = tuple(sorted(counts.items()))
            if name not in seen:
                seen.add(name)
                found.append({"nested": nested, "exit": exit_, "counts": counts})
    if not found:
        raise Refused(f"none of {DRAWS} configs of study {study.name!r} can be built: nothing to profile; see "
                      "`searchd validate`")  # fmt: skip
    return {"operators": [asdict(o) for o in chosen(often)], "architectures": found, "seed": seed}


def chosen(often: Mapping[Operator, int]) -> list[Operator]:
    """At most `MOST_OPERATORS`: the smallest and the largest of each kind, so that the rule for the others need not
    reach beyond, and then those that are met most often."""
    by_size = sorted(often, key=lambda o: (sum(size(o.key)), o.key))
    ends = [{kind(o.key): o for o in order}.values() for order in (by_size, by_size[::-1])]
    ranked = [*ends[0], *ends[1], *sorted(often, key=lambda o: (-often[o], o.key))]
    return list(dict.fromkeys(ranked))[:MOST_OPERATORS]


def check_known(study: Study, runtime: str = "") -> None:
    """Refused for a task whose operators nobody knows, or whose networks a device's runtime cannot time."""
    known = study.task.built_in
    if known is None or known.operators is None:
        raise Refused(
            f"task {study.task.kind} has no operators that could be timed alone; built-in tasks have. Its latency is "
            "measured (leave `latency: predicted` out)"
        )
    if runtime and runtime not in known.runtimes:
        raise Refused(
            f"the networks of task {study.task.kind} are timed by {', '.join(known.runtimes)}, and the device is "
            f"registered with {runtime}: `searchd device add NAME --runtime {known.runtimes[0]}`"
        )
