"""Widths that weights and activations may have, as a config says them, and how many weights share a scale.

A number of 8 or fewer is integer codes (1.58: ternary), 16 is bfloat16, 32 float32; `fp8` (e4m3), `bf16` and `fp16` are
floating formats by name: stored and rounded so, computed in float32 where the runtime has no kernel for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from spaces.errors import ParameterError

Form = Literal["", "fp8", "bf16", "fp16"]
"""The floating format of a layer's weights or inputs below 32 bits; empty: integer codes, or float32 at 32."""

FORMS: dict[str, int] = {"fp8": 8, "bf16": 16, "fp16": 16}
BITS: tuple[float | str, ...] = (1, 1.58, 2, 3, 4, 8, "fp8", 16, "bf16", "fp16", 32)
"""Weight bits that the network has."""
ACTIVATION_BITS: tuple[float | str, ...] = (2, 3, 4, 8, "fp8", 16, "bf16", "fp16", 32)
GRANULARITIES = ("tensor", "channel", "group")
GROUP = 32


def width(name: str, value: Any, known: tuple[float | str, ...]) -> tuple[float, Form]:
    """Bits and format of one value; SpaceError when it is none of `known`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value not in known:
        listed = ", ".join(b if isinstance(b, str) else f"{b:g}" for b in known)
        raise ParameterError(name, f"= {value!r} is no width that the network has: {listed}")
    match value:
        case "fp8" | "bf16" | "fp16":
            return float(FORMS[value]), value
        case 16:
            return 16.0, "bf16"
        case _:
            return float(value), ""


def widths(
    name: str, said: Any, depth: int, known: tuple[float | str, ...]
) -> list[tuple[float, Form]]:
    """One a block: a list, or one value for all. SpaceError when the list is too short."""
    listed = list(said) if isinstance(said, list | tuple) else [said] * depth
    if len(listed) < depth:
        raise ParameterError(name, f"has {len(listed)} entries for {depth} blocks: write repeat: depth, or one for all")
    return [width(name, value, known) for value in listed][:depth]


def sharing(config: Mapping[str, Any]) -> tuple[str, int]:
    """How weights share scales: (granularity, weights in a group). `granularity` may bring its own `group`."""
    said: Any = config.get("granularity", "channel")
    group = config.get("group", GROUP)
    if isinstance(said, Mapping):
        said, group = said.get("name"), said.get("group", group)
    if said not in GRANULARITIES:
        known = ", ".join(GRANULARITIES)
        raise ParameterError("granularity", f"= {said!r}, but weights share a scale by {known}: use one")
    if isinstance(group, bool) or not isinstance(group, int) or group < 2:
        raise ParameterError("group", f"= {group!r}, but a group is a whole number of weights from 2: raise it")
    return str(said), group


def said(bits: float, form: Form) -> float | str:
    """How a config says it: 8.0 and fp8 are told apart."""
    return form if form and form != "bf16" else bits
