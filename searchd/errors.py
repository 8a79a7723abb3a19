"""Every error that a user of searchd can meet and mend. Catch `SearchdError` for all of them.

SearchdError
├── StudyError, SpaceError     the study file, the space            (spaces.errors)
├── NotFound                   no such study, trial, point, file
├── Infeasible                 raised by a task: this config cannot be trained
├── Refused                    the daemon or the worker says no: state, token, allow-list
│   ├── Forbidden              the token is good and does not reach so far
│   ├── TooLarge               more bytes than are taken
│   └── TooMany                too often: try again later
├── Unreachable                broker, database or daemon does not answer
│   └── Fenced                 another daemon has taken the database over
├── BadSetting                 an option or a variable of the environment that cannot be
└── Missing                    an optional part is not installed, or a program is not on the PATH
"""

from __future__ import annotations

from spaces.errors import Problem, SearchdError, SpaceError, StudyError

__all__ = [
    "BadSetting", "Fenced", "Forbidden", "Infeasible", "Missing", "NotFound", "Problem", "Refused", "SearchdError",
    "SpaceError", "StudyError", "TooLarge", "TooMany", "Unreachable",
]  # fmt: skip


class NotFound(SearchdError):
    """No such study, trial, point or file."""


class Infeasible(SearchdError):
    """Raise it in a training function for a config that cannot be: its trial fails as `infeasible`, no bug of yours."""


class Refused(SearchdError):
    """The request is understood and refused: wrong state, wrong token, not on the allow-list, too large."""


class Forbidden(Refused):
    """The token is good, and its scope does not reach so far."""


class TooLarge(Refused):
    """More bytes than are taken."""


class TooMany(Refused):
    """Too many requests, feeds or studies at a time; `retry_s`: seconds after which it may be tried again."""

    def __init__(self, message: str, retry_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class Unreachable(SearchdError):
    """The broker, the database or the daemon does not answer."""


class Fenced(Unreachable):
    """Another daemon has taken the database over: it answers this one no more."""


class BadSetting(SearchdError):
    """An option or a variable of the environment that cannot be; the message names it and the rule."""


class Missing(SearchdError):
    """An optional part is not installed, or a program is not on the PATH; the message says how to get it."""
