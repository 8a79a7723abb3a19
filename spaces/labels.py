"""Labels of worker slots (`rack=3`), and what a study needs of them: equal text, key by key."""

from __future__ import annotations

import re
from collections.abc import Mapping

from spaces.errors import SpaceError
from spaces.problems import Problems

KEY = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")
VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,62}")
MOST = 32
"""So many labels may a slot have, or a study need."""


def text(value: object) -> str:
    """A value as labels are compared: `3`, `true`, `a100`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def label(said: str) -> tuple[str, str]:
    """`KEY=VALUE` as (key, value); SpaceError for anything else."""
    key, equals, value = said.partition("=")
    if not equals or not KEY.fullmatch(key) or not VALUE.fullmatch(value):
        raise SpaceError(f"label {said!r} is not KEY=VALUE: a letter and then letters, digits, . _ - before the =, and "
                         "a letter or digit and then the same or : behind it, such as rack=3")  # fmt: skip
    return key, value


def fits(needs: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a slot with these labels has all that is needed."""
    return all(labels.get(key) == value for key, value in needs.items())


def shown(labels: Mapping[str, str]) -> str:
    """`rack=3, tier=fast`; `no label` where there is none."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no label"


def check_needs(needs: Mapping[str, str], problems: Problems) -> None:
    """Keys and values that a worker's label can have."""
    if len(needs) > MOST:
        problems.add(("needs",), f"{len(needs)} labels are needed: name at most {MOST}")
    for key, value in needs.items():
        try:
            label(f"{key}={value}")
        except SpaceError as error:
            problems.add(("needs", key), str(error))
