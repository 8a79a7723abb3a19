"""The built-in tasks by name. One more: a module here, an entry below, and a module of its name in `workers.tasks`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spaces.builtin.base import BuiltIn, Description

__all__ = ["BUILT_IN", "BuiltIn", "Description"]


class _Tasks(Mapping[str, BuiltIn]):
    """A task's module is imported when somebody asks for the task: most processes ask for one of them, or for none."""

    names = ("classify", "dnas", "lm", "supernet")

    def __init__(self) -> None:
        self._known: dict[str, BuiltIn] = {}

    def __getitem__(self, name: str) -> BuiltIn:
        if name not in self._known:
            self._known[name] = _imported(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names


def _imported(name: str) -> BuiltIn:
    match name:
        case "classify":
            from spaces.builtin.classify import CLASSIFY

            return CLASSIFY
        case "dnas":
            from spaces.builtin.dnas import DNAS

            return DNAS
        case "lm":
            from spaces.builtin.lm import LM

            return LM
        case "supernet":
            from spaces.builtin.supernet import SUPERNET

            return SUPERNET
        case _:
            raise KeyError(name)


BUILT_IN: Mapping[str, BuiltIn] = _Tasks()
