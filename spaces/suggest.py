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


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is a slip of, or None: capitals, `-` for `_` or none of either, or up to two letters
    wrong, missing, too many or swapped (in a known word of fewer than eight letters: one), but not the first."""
    folded = _folded(word)
    for right in known:
        near = folded[:1] == right[:1] and _distance(folded, _folded(right)) <= (1 if len(right) < 8 else 2)
        if near and word != right:
            return right
    return None


def _folded(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def _distance(a: str, b: str) -> int:
    """How many letters to change, add, take away or swap with their neighbour (optimal string alignment)."""
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, above, row = row, before, [i]
        for j, y in enumerate(b, start=1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1]
