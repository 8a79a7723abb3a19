"""Errors that a user can mend. The tree:

SearchdError                 anything that is the user's to fix: value, rule, remedy in the message
├── StudyError               a study file or a study given as a dict; holds every Problem that was found
├── SpaceError               a space, a domain or a config that breaks its rule
│   └── ParameterError       a value of one parameter, which it names
└── (searchd.errors)         what the service adds: StoreError, TransportError, DaemonError, ...

`searchd.errors` re-exports all of these; the base lives on the ground floor because `spaces` imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass


class SearchdError(Exception):
    """Something that the user can mend: the message names the value, the rule and the remedy."""


class SpaceError(SearchdError):
    """A domain, a space or a config that breaks its rule."""


class ParameterError(SpaceError):
    """A value of one parameter that nothing can be built from; the message begins with the parameter's name."""

    def __init__(self, parameter: str, what: str) -> None:
        self.parameter = parameter
        super().__init__(f"{parameter} {what}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a study: where (dotted path, file, 1-based line) and what (value, rule, remedy)."""

    path: str
    message: str
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        where = self.file or ""
        if self.line is not None:
            where = f"{where or 'study'}:{self.line}"
        head = f"{where}: " if where else ""
        return f"{head}{self.path}: {self.message}" if self.path else f"{head}{self.message}"


class StudyError(SearchdError):
    """A study that cannot be read; every problem at once, one a line."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))
