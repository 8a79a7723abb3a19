"""Text to learn the next character of: a named one that any machine has, or a file.

A character is one of 97 symbols: the printable ones of ASCII, the newline, and one for all others.
"""

from __future__ import annotations

from pathlib import Path

from spaces.errors import SpaceError
from spaces.suggest import did_you_mean

SYMBOLS = "\n" + "".join(chr(code) for code in range(32, 127))
OTHER = len(SYMBOLS)
"""The number of the symbol that stands for every other character."""
VOCABULARY = OTHER + 1
NAMED: dict[str, str] = {"python-help": "the topics of Python's own help(), some 460,000 characters, as installed here"}
LEAST = 4096
"""Characters that a text needs: a tenth of them is for validation."""


def text_path(text: str, base: Path | None) -> str:
    """A named text as it is, or the absolute path of a file; SpaceError when there is none, or it is too short."""
    if text in NAMED:
        return text
    path = Path(text) if base is None or Path(text).is_absolute() else (base / text).resolve()
    if not path.is_file():
        near = did_you_mean(text, NAMED)
        raise SpaceError(f"{text!r} is neither a named text nor a file that is here: {near}; or give a path")
    if path.stat().st_size < LEAST:
        raise SpaceError(f"{text} has {path.stat().st_size} bytes, but {LEAST} or more are needed: give a longer text")
    return str(path)
