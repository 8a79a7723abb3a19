"""Which tiles of a kernel can be: a small constraint satisfaction, solved by backtracking.

A tile is a value for each axis (sizes, warps, stages). A rule names the axes that it reads and is asked as soon as
those have a value, so that whole branches are left out. Values are tried in the order given: the list is always the
same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Tile = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one block on a device: bytes of shared memory, registers of the block and of a thread, threads."""

    shared: int = 163 * 1024
    registers: int = 65536
    thread_registers: int = 255
    threads: int = 1024


AMPERE, HOPPER = Limits(), Limits(shared=227 * 1024)
"""Of capability 8.0 and 9.0 (CUDA C++ Programming Guide, technical specifications by compute capability)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`holds` of the values of `axes`, in that order; `name` says what is asked."""

    name: str
    axes: tuple[str, ...]
    holds: Callable[..., bool]


@dataclass(frozen=True, slots=True)
class Tiles:
    """The axes of a tile with their values, and the rules between them."""

    axes: Mapping[str, tuple[int, ...]]
    rules: tuple[Rule, ...] = field(default=())

    def __post_init__(self) -> None:
        for rule in self.rules:
            unknown = [a for a in rule.axes if a not in self.axes]
            if unknown:
                raise ValueError(
                    f"the rule {rule.name!r} reads {', '.join(unknown)}, but the axes are {', '.join(self.axes)}:"
                    " give that axis values"
                )

    def broken(self, tile: Tile) -> str | None:
        """The first rule that a whole tile breaks; None: it is feasible."""
        for name, values in self.axes.items():
            if tile.get(name) not in values:
                return f"{name} = {tile.get(name)} is none of {values}"
        return next((r.name for r in self.rules if not r.holds(*(tile[a] for a in r.axes))), None)

    def feasible(self) -> Iterator[dict[str, int]]:
        """Every tile that breaks no rule."""
        names = tuple(self.axes)
        # A rule is due at the last of its axes.
        due = [[r for r in self.rules if r.axes and max(map(names.index, r.axes)) == k] for k in range(len(names))]

        def extend(tile: dict[str, int], k: int) -> Iterator[dict[str, int]]:
            if k == len(names):
                yield dict(tile)
                return
            for value in self.axes[names[k]]:
                tile[names[k]] = value
                if all(r.holds(*(tile[a] for a in r.axes)) for r in due[k]):
                    yield from extend(tile, k + 1)
            tile.pop(names[k], None)

        yield from extend({}, 0)


def divides(small: str, large: str) -> Rule:
    """`small` divides `large`."""
    return Rule(f"{small} divides {large}", (small, large), lambda a, b: b % a == 0)


def at_least_a_thread_each(rows: str, columns: str, warps: str) -> Rule:
    """A tile has an element or more for each thread."""
    return Rule("an element a thread", (rows, columns, warps), lambda r, c, w: r * c >= 32 * w)


def within_threads(limits: Limits, warps: str) -> Rule:
    """No more threads than a block can have."""
    return Rule("threads of a block", (warps,), lambda w: 32 * w <= limits.threads)


def within_registers(limits: Limits, rows: str, columns: str, warps: str, live: int, spare: int = 32) -> Rule:
    """`live` values of four bytes an element are alive at once, and `spare` registers a thread for addresses."""

    def holds(r: int, c: int, w: int) -> bool:
        each = -(-r * c * live // (32 * w)) + spare
        return each <= limits.thread_registers and each * 32 * w <= limits.registers

    return Rule(f"{live} registers an element", (rows, columns, warps), holds)


def within_shared(limits: Limits, axes: tuple[str, ...], bytes_of: Callable[..., int]) -> Rule:
    """`bytes_of` the axes fit in the shared memory of a block."""
    return Rule("shared memory", axes, lambda *values: bytes_of(*values) <= limits.shared)
