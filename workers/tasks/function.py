"""A user's training function, by name: `pkg.module:function`. A worker runs only what its `--allow` names."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

from searchd.errors import NotFound, Refused
from workers.trial import Trial

SAID = 200
"""So much of an import's error is told."""


def allowed(name: str, allow: tuple[str, ...]) -> bool:
    """Whether `name` matches an entry: exact (`pkg.module:train`) or a pattern (`pkg.*`)."""
    return any(fnmatchcase(name, pattern) for pattern in allow)


def load(name: str, allow: tuple[str, ...]) -> Callable[[Trial], object]:
    """The function itself. Refused when this worker may not run it, has none, or lacks what its module imports: another
    may have it. NotFound for what is no function's name anywhere; other errors in its module go on."""
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise NotFound(f"task {name!r} is not a function's name; write it as package.module:function")
    if not allowed(name, allow):
        listed = ", ".join(allow) or "nothing"
        raise Refused(
            f"function {name} is not on this worker's allow-list, which has {listed}; "
            f"start the worker with --allow {name} to run it"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise Refused(
                f"module {module_name} of task {name} is not found by this worker; "
                "install it there, or name its folder with --path, and start the worker again"
            ) from error
        raise Refused(
            f"module {module_name} of task {name} cannot be imported by this worker: {_line(error)}{_where(error)}; "
            "install what it needs there, and start the worker again"
        ) from error
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        have = ", ".join(sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))[:10])
        raise Refused(f"module {module_name} has no function {attribute}; it has {have or 'none'}")
    return found


def _line(error: ImportError) -> str:
    """What it says, on one line that is not too long: a package with a broken library says pages."""
    said = " ".join(str(error).split()) or "its import failed"
    return said if len(said) <= SAID else f"{said[:SAID]}…"


def _where(error: ImportError) -> str:
    """The line of the import that failed: the last one that is not importlib's own."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    return f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if len(lines) > 1 else ""
