"""The text that a language model learns: read, turned into symbols, cut in three."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spaces.errors import SearchdError
from spaces.texts import NAMED, OTHER, SYMBOLS, VOCABULARY

HELD = 0.1
"""Share of the text, at its end, that is for the test; the same again before it is for validation."""


class TextError(SearchdError):
    """A text that cannot be read or learned from."""


@dataclass(frozen=True, slots=True)
class Text:
    """Symbols [n] int64 of the three parts, in the order of the text: training, validation, test."""

    name: str
    train: Tensor
    val: Tensor
    test: Tensor


@lru_cache(maxsize=2)
def load(name: str, context: int) -> Text:
    """The text of that name or file; TextError when it cannot be read or a part is shorter than a few contexts."""
    codes = symbols(_read(name))
    held = int(HELD * len(codes))
    if held < 2 * context:
        raise TextError(
            f"{name} has {len(codes)} characters, so {held} to validate on, but a context of {context} needs"
            f" {2 * context}: give a longer text or a smaller context"
        )
    whole = torch.from_numpy(codes)
    return Text(name, whole[: -2 * held], whole[-2 * held : -held], whole[-held:])


def symbols(text: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The number of each character's symbol [n]."""
    table = np.full(0x110000, OTHER, np.int64)
    table[[ord(c) for c in SYMBOLS]] = np.arange(len(SYMBOLS))
    if VOCABULARY != OTHER + 1:
        raise RuntimeError("the vocabulary does not end with the symbol for others: this is a bug")
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = table[np.frombuffer(text.encode("utf-32-le"), np.uint32)]
    return found


def windows(part: Tensor, starts: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """(symbols [B, T], the ones that follow [B, T]) from the places `starts` [B]."""
    at = starts[:, None] + torch.arange(length + 1)
    found = part[at]
    return found[:, :-1], found[:, 1:]


def even(part: Tensor, count: int, length: int) -> tuple[Tensor, Tensor]:
    """At most `count` windows spread evenly over a part; the same at each call."""
    last = len(part) - length - 1
    return windows(part, torch.linspace(0, last, min(count, last + 1)).long(), length)


def _read(name: str) -> str:
    if name in NAMED:
        try:
            from pydoc_data.topics import topics
        except ModuleNotFoundError as error:
            raise TextError(f"this Python comes without its help texts ({error}): give the path of a text") from error
        return "\n".join(topics[key] for key in sorted(topics))
    try:
        return Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        said = f"the text {name} cannot be read ({error.strerror})"
        raise TextError(f"{said}: give a path that every worker has") from error
