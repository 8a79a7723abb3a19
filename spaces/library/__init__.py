"""Named sub-spaces that ship with searchd: `use: [optimizers/basic]` merges `basic` of `optimizers.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from spaces.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class SubSpace:
    """One named entry: what it is, the parameters it brings, and its constraints."""

    name: str
    about: str
    space: Mapping[str, Any]
    constraints: tuple[str, ...]


@cache
def library() -> Mapping[str, SubSpace]:
    """Every sub-space by `file/entry`."""
    from spaces.load import read_text

    out: dict[str, SubSpace] = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".yaml"):
            continue
        stem = file.name.removesuffix(".yaml")
        for entry, said in read_text(file.read_bytes(), file.name).data.items():
            name = f"{stem}/{entry}"
            out[name] = SubSpace(name, said["about"], said["space"], tuple(said.get("constraints", ())))
    return out


def sub_space(name: str) -> SubSpace | str:
    """The sub-space of that name, or in words why there is none."""
    found = library().get(name)
    return found if found is not None else f"there is no library space {name!r}: {did_you_mean(name, library())}"
