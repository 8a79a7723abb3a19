"""Every error that a user of searchd can meet and mend. Catch `SearchdError` for all of them.

SearchdError
├── StudyError, SpaceError     the study file, the space            (spaces.errors)
├── NotFound                   no such study, trial, point, file
├── Refused                    the daemon or the worker says no: state, token, allow-list, size
├── Unreachable                broker, database or daemon does not answer
│   └── Fenced                 another daemon has taken the database over
├── BadSetting                 an option or a variable of the environment that cannot be
└── Missing                    an optional part is not installed, or a program is not on the PATH
"""

from __future__ import annotations

from spaces.errors import Problem, SearchdError, SpaceError, StudyError

__all__ = [
    "BadSetting", "Fenced", "Missing", "NotFound", "Problem", "Refused", "SearchdError", "SpaceError", "StudyError",
    "Unreachable",
]  # fmt: skip


class NotFound(SearchdError):
    """No such study, trial, point or file."""


class Refused(SearchdError):
    """The request is understood and refused: wrong state, wrong token, not on the allow-list, too large."""


class Unreachable(SearchdError):
    """The broker, the database or the daemon does not answer."""


class Fenced(Unreachable):
    """Another daemon has taken the database over: it answers this one no more."""


class BadSetting(SearchdError):
    """An option or a variable of the environment that cannot be; the message names it and the rule."""


class Missing(SearchdError):
    """An optional part is not installed, or a program is not on the PATH; the message says how to get it."""
