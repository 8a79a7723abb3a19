"""Which layers of a transformer run, decided without looking at the input: whole batches and caches stay possible.

Unified layer skipping keeps layers evenly (Liu et al., 2024); SkipDecode gives every position of a decoded sequence
its own depth, falling over the positions, so that what a layer needs of earlier positions was computed (Del Corro et
al., 2023).
"""

from __future__ import annotations

from math import floor

from spaces.errors import SpaceError


def unified(layers: int, speedup: float) -> tuple[int, ...]:
    """The layers kept of `layers`, from 0, rising: round(layers / speedup) of them, at least 2 (1 of 1), evenly spread,
    the first and the last among them."""
    if layers < 1 or speedup < 1:
        raise SpaceError(f"layers = {layers}, speedup = {speedup:g}, but both are at least 1: raise them")
    keep = min(layers, max(2, _round(layers / speedup)))
    if keep == 1:
        return (0,)
    return tuple(_round(i * (layers - 1) / (keep - 1)) for i in range(keep))


def depths(positions: int, most: int, least: int, exponent: float = 1.0) -> tuple[int, ...]:
    """Active layers at each of `positions`, from `most` down to `least`: linearly, or by a power of the time."""
    if not 1 <= least <= most or positions < 1 or exponent <= 0:
        raise SpaceError(
            f"positions = {positions}, most = {most}, least = {least}, exponent = {exponent:g}, but 1 <= least <= most,"
            " one position or more and an exponent above 0 are needed: mend them"
        )
    last = max(1, positions - 1)
    return tuple(_round(least + (most - least) * (1 - (t / last) ** exponent)) for t in range(positions))


def active(layers: int, depth: int, warm: int = 0) -> tuple[int, ...]:
    """The layers that run where `depth` of `layers` do: the first `warm`, and the last depth − warm."""
    if not 0 <= warm <= depth <= layers:
        said = f"warm = {warm}, depth = {depth}, layers = {layers}"
        raise SpaceError(f"{said}, but 0 <= warm <= depth <= layers: mend it")
    return (*range(warm), *range(layers - depth + warm, layers))


def _round(value: float) -> int:
    """Half up, as the tables have it."""
    return floor(value + 0.5)
