"""A misspelt word gets the right one suggested."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], *, listed: int = 8) -> str:
    """A remedy in words: `did you mean 'lr'?`, or else the first `listed` known words."""
    words = [str(k) for k in known]
    folded = {w.lower(): w for w in words}
    near = difflib.get_close_matches(str(word).lower(), list(folded), n=1, cutoff=0.6)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    if not words:
        return "there is none to choose from"
    more = f" and {len(words) - listed} more" if len(words) > listed else ""
    return f"known: {', '.join(words[:listed])}{more}"
