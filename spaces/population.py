"""What population-based training asks of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spaces.problems import Problems
from spaces.space import Space
from spaces.suggest import did_you_mean

if TYPE_CHECKING:
    from spaces.study import SearchSpec


def check_population(space: Space, search: SearchSpec, problems: Problems) -> None:
    """Whoever takes over weights must change only what they fit: both halves of the method, and names to explore."""
    if (search.scheduler == "pbt") != (search.searcher == "pbt"):
        key = "searcher" if search.scheduler == "pbt" else "scheduler"
        problems.add(("search", key), f"population-based training is pbt with searcher pbt: write {key}: pbt")
    elif search.scheduler == "pbt":
        explore = search.options.get("explore")
        names = explore if isinstance(explore, list) else []
        if not names:
            said = "pbt needs explore: [names], the parameters that may change while weights are kept, such as lr"
            problems.add(("search", "options"), said)
        known = [*space.names, *{n.rpartition(".")[0] for n in space.names} - {""}]
        for name in names:
            if not any(n == name or n.startswith(f"{name}.") for n in space.names):
                said = f"{name!r} is no parameter of this space: {did_you_mean(str(name), known)}"
                problems.add(("search", "options", "explore"), said)
