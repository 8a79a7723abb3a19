"""A user's training function, by name: `pkg.module:function`. A worker runs only what its `--allow` names."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from fnmatch import fnmatchcase

from searchd.errors import NotFound, Refused
from workers.trial import Trial


def allowed(name: str, allow: tuple[str, ...]) -> bool:
    """Whether `name` matches an entry: exact (`pkg.module:train`) or a pattern (`pkg.*`)."""
    return any(fnmatchcase(name, pattern) for pattern in allow)


def load(name: str, allow: tuple[str, ...]) -> Callable[[Trial], object]:
    """The function itself. Refused when this worker may not run it or has none: another may have it. NotFound for what
    is no function's name anywhere; errors in its module go on."""
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
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise Refused(
            f"module {module_name} of task {name} is not found by this worker; "
            "install it there, or name its folder with --path"
        ) from error
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        have = ", ".join(sorted(n for n, v in vars(module).items() if callable(v) and not n.startswith("_"))[:10])
        raise Refused(f"module {module_name} has no function {attribute}; it has {have or 'none'}")
    return found
