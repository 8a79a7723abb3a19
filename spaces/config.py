"""One point of a space: frozen, hashable, canonical JSON, a digest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

Value = int | float | str | bool | None | tuple[Any, ...]


class Config(Mapping[str, Any]):
    """A config by flat names, active parameters only.

    A nested parameter carries the option that it lives under (`optimizer.sgd.lr`), an element of a
    repeated one its index (`bits.0`), a subset is a tuple in the order of its domain. `nested()` gives
    the shape that a training function reads.
    """

    __slots__ = ("_digest", "_items")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._items: dict[str, Any] = {k: _freeze(values[k]) for k in sorted(values)}
        self._digest = ""

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(self._items.values()))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Config):
            return self is other or (self._items == other._items and self.json() == other.json())
        return NotImplemented

    def __repr__(self) -> str:
        return f"Config({self.json()})"

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of `json()`."""
        if not self._digest:  # a search looks at few of them
            self._digest = hashlib.sha256(self.json().encode()).hexdigest()[:16]
        return self._digest

    def json(self) -> str:
        """Canonical JSON: sorted names, no spaces; tuples become lists."""
        return _CANONICAL.encode(self._items)

    def flat(self) -> dict[str, Any]:
        """Flat names to plain JSON values (subsets as lists)."""
        return {name: value if type(value) in _PLAIN else _thaw(value) for name, value in self._items.items()}


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

_PLAIN = frozenset({str, int, float, bool, type(None)})


def _thaw(value: Any) -> Any:
    """A frozen value as JSON has it: what is of a type of its own (a NumPy number, say) becomes a plain one."""
    if type(value) is tuple:
        return [_thaw(v) for v in value]
    return value if type(value) in _PLAIN else json.loads(_CANONICAL.encode(value))


def _freeze(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int:  # most values, at once
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a config holds finite numbers, not {value!r}")
        return value
    if isinstance(value, list | tuple):
        return tuple(_freeze(v) for v in value)
    if isinstance(value, bool | int | str) or value is None:
        return value
    raise TypeError(f"a config holds numbers, strings, booleans and lists of them, not {type(value).__name__}")
