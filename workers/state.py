"""Live objects as a tree of plain values and arrays, and back: no pickle, so a checkpoint can run no code.

Stateful objects (`snapshot`, `restore`): whatever has `state_dict()` and `load_state_dict()` (modules, optimizers,
schedulers), a `torch.Generator`, a `numpy.random.Generator`. Their states and plain values go through `pack`: numbers,
strings, None, lists, tuples, dicts, bytes, NumPy arrays, torch tensors. What JSON cannot say is marked by a dict with
the key `$`: tensor, array, tuple, dict (keys other than strings), bytes.
torch and NumPy are never imported here for a function that does not use them.
"""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Mapping, Sequence
from typing import Any

MARK = "$"
PLAIN = frozenset((type(None), bool, str, int, float))
EVOLVING = frozenset({"params", "step", "train_mode", "weight_sum", "lr_max", "d", "d_max", "k"})
"""Entries of an optimizer's groups that training changes and no user sets: of schedule-free, Prodigy, D-Adaptation."""


def stateful(value: object) -> bool:
    """Whether `value` holds state that is restored in place."""
    return (
        (hasattr(value, "state_dict") and hasattr(value, "load_state_dict"))
        or (hasattr(value, "get_state") and hasattr(value, "set_state"))
        or hasattr(value, "bit_generator")
    )


def snapshot(value: Any) -> Any:
    """The state of one object, live arrays included; a plain value is its own state."""
    if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
        return value.state_dict()
    if hasattr(value, "get_state") and hasattr(value, "set_state"):
        return value.get_state()
    if hasattr(value, "bit_generator"):
        return value.bit_generator.state
    return value


def restore(value: Any, state: Any) -> None:
    """Put `state` (an answer of `snapshot`) back into a stateful object."""
    if hasattr(value, "load_state_dict"):
        value.load_state_dict(state)
    elif hasattr(value, "set_state"):
        value.set_state(state)
    else:
        value.bit_generator.state = state


def settings(value: Any) -> list[dict[str, Any]]:
    """What an optimizer was built with, one mapping a parameter group (its learning rate, …); none for others."""
    groups = getattr(value, "param_groups", None)
    if not isinstance(groups, list):
        return []
    return [{k: v for k, v in group.items() if k not in EVOLVING} for group in groups]


def set_settings(value: Any, groups: list[dict[str, Any]]) -> None:
    """Set the groups of an optimizer to what `settings` answered."""
    for group, known in zip(getattr(value, "param_groups", ()), groups, strict=False):
        group.update(known)


def random_states() -> dict[str, Any]:
    """The global random generators of the libraries that are loaded: `python`, `numpy`, `torch`, `cuda`."""
    states: dict[str, Any] = {"python": random.getstate()}
    if "numpy" in sys.modules:
        states["numpy"] = sys.modules["numpy"].random.get_state()
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state()
        if torch.cuda.is_initialized():
            states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Set the global generators as they were; a library that is not loaded now is left out."""
    if "python" in states:
        random.setstate(states["python"])
    if "numpy" in states and "numpy" in sys.modules:
        sys.modules["numpy"].random.set_state(states["numpy"])
    torch = sys.modules.get("torch")
    if torch is not None and "torch" in states:
        torch.set_rng_state(states["torch"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["cuda"])


def seed_everything(seed: int) -> None:
    """Seed the global generators of the libraries that are loaded."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed % 2**63)


def pack(value: Any, arrays: dict[str, Any], path: str = "") -> Any:
    """`value` as JSON-able data; tensors and arrays go into `arrays` by name. TypeError names what cannot be saved."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    match value:
        case None | bool() | str():
            return value
        case bytes():
            return {MARK: "bytes", "of": base64.b64encode(value).decode()}
        case list():
            return _packed(value, arrays, path)
        case tuple():
            return {MARK: "tuple", "of": _packed(value, arrays, path)}
        case Mapping():
            if MARK not in value and all(isinstance(k, str) for k in value):
                return {k: pack(v, arrays, f"{path}.{k}") for k, v in value.items()}
            pairs = [[pack(k, arrays, path), pack(v, arrays, f"{path}.{k}")] for k, v in value.items()]
            return {MARK: "dict", "of": pairs}
    if type(value) in (int, float):
        return value
    if torch is not None and isinstance(value, torch.Tensor):
        return {MARK: "tensor", "of": _store(arrays, path, value)}
    if numpy is not None and isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf":
        native = value.dtype.newbyteorder("=")
        return {MARK: "array", "of": _store(arrays, path, value.astype(native, order="C", copy=False, subok=False))}
    if numpy is not None and isinstance(value, numpy.generic):
        return pack(value.item(), arrays, path)
    raise TypeError(
        f"{path.lstrip('.') or 'the value'} is a {type(value).__module__}.{type(value).__qualname__}, which a "
        "checkpoint cannot hold; save torch modules, optimizers, tensors, numeric arrays, or plain JSON values"
    )


def _packed(values: Sequence[Any], arrays: dict[str, Any], path: str) -> list[Any]:
    """The items of a list or tuple; the state of Python's generator is a tuple of 625 plain numbers."""
    if PLAIN.issuperset(map(type, values)):
        return list(values)
    return [pack(v, arrays, f"{path}.{i}") for i, v in enumerate(values)]


def _store(arrays: dict[str, Any], path: str, value: Any) -> str:
    """Keep `value` under its path (numbered when a dict has both 1 and "1" as keys) and answer that name."""
    name = path.lstrip(".") or "value"
    if name in arrays:
        name = f"{name}#{len(arrays)}"
    arrays[name] = value
    return name


def unpack(data: Any, arrays: Mapping[str, Any]) -> Any:
    """The value that `pack` was given (arrays looked up by name)."""
    if isinstance(data, list):
        return [unpack(v, arrays) for v in data]
    if not isinstance(data, dict):
        return data
    match data.get(MARK):
        case None:
            return {k: unpack(v, arrays) for k, v in data.items()}
        case "tensor" | "array":
            return arrays[data["of"]]
        case "tuple":
            return tuple(unpack(v, arrays) for v in data["of"])
        case "dict":
            return {unpack(k, arrays): unpack(v, arrays) for k, v in data["of"]}
        case "bytes":
            return base64.b64decode(data["of"])
        case other:
            raise ValueError(f"the checkpoint has a value marked {other!r}, which this version does not know")
