"""A config for a new trial: from the searcher, as long as what it suggests may start; else at random."""

from __future__ import annotations

from collections.abc import Callable, Collection

from searchd.errors import SpaceError
from searchd.searchers.morphed import Morphed
from searchd.threads import one_thread
from spaces.config import Config

SUGGESTIONS = 8
"""How often the searcher is asked for a trial whose config breaks a bound or is there already."""
DRAWS = 1000
"""After that, random configs until one keeps the bounds."""


def draw(
    suggest: Callable[[tuple[Config, ...]], Config | Morphed],
    sample: Callable[[], Config],
    refusal: Callable[[Config], str | None],
    taken: Collection[Config],
) -> tuple[Config | Morphed | None, str]:
    """A config that keeps the bounds, and is a new one if there is any; None, and why, when none was found. What the
    searcher said of a parent comes with it.

    `suggest` hears what was rejected so far; `refusal` says why a config must not start; `taken`: who is there already.
    """
    why = ""
    rejected: tuple[Config, ...] = ()
    spare: Config | Morphed | None = None
    try:
        with one_thread():
            for _ in range(SUGGESTIONS):
                said = suggest(rejected)
                config = config_of(said)
                refused = refusal(config)
                if refused is None and config not in taken:
                    return said, ""
                if refused is None:
                    spare = spare or said
                why = refused or why
                rejected = (*rejected, config)
            if spare is not None:
                return spare, ""
            for _ in range(DRAWS):
                config = sample()
                if refusal(config) is None:
                    return config, ""
    except SpaceError as error:
        why = str(error)
    tried = SUGGESTIONS + DRAWS
    return None, f"no new trial: none of {tried} configs was allowed ({why}): loosen the bound, or widen the space"


def config_of(said: Config | Morphed) -> Config:
    """The config in what a searcher said."""
    return said.config if isinstance(said, Morphed) else said
