"""The problem instances that a command is configured over: a list of names, a number of them, or a file of lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spaces.problems import Problems

MOST = 100_000
MOST_BYTES = 1 << 20


def read_instances(options: dict[str, Any], problems: Problems, base: Path | None) -> bool:
    """Makes `options["instances"]` a list of strings and checks `cap_s` [s]; False when a problem was added.

    A file counts from the folder `base`; its lines are the names, without empty ones and those that begin with #.
    """
    if "instances" not in options:
        if "cap_s" in options:
            problems.add(("task", "cap_s"), "cap_s caps a run on an instance: give instances too, or time_limit_s")
            return False
        return True
    found = _names(options["instances"], problems, base)
    cap = options.get("cap_s")
    if cap is None or isinstance(cap, bool) or not isinstance(cap, int | float) or not 0 < cap < math.inf:
        where = ("task", "cap_s") if "cap_s" in options else ("task",)
        problems.add(where, f"cap_s = {cap!r} is not a number of seconds above 0: a run on an instance needs a cap")
        return False
    if found is None:
        return False
    options["instances"] = found
    return True


def _names(said: Any, problems: Problems, base: Path | None) -> list[str] | None:
    where: tuple[str, ...] = ("task", "instances")
    if isinstance(said, Mapping):
        if set(said) != {"file"} or not isinstance(said["file"], str):
            problems.add(where, f"{dict(said)!r} names no file: write instances: {{file: list.txt}}")
            return None
        path = Path(said["file"])
        path = path if base is None or path.is_absolute() else base / path
        where = (*where, "file")
        try:
            if path.stat().st_size > MOST_BYTES:
                problems.add(where, f"{path} is larger than {MOST_BYTES} bytes: list the instances, one a line")
                return None
            lines = path.read_text().splitlines()
        except OSError as error:
            problems.add(where, f"{path} cannot be read: {error.strerror}")
            return None
        except UnicodeDecodeError:
            problems.add(where, f"{path} is no text file: list the instances, one a line")
            return None
        said = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if isinstance(said, int) and not isinstance(said, bool):
        if not 1 <= said <= MOST:
            problems.add(where, f"{said} is no number of instances from 1 to {MOST}")
            return None
        return [str(number) for number in range(1, said + 1)]
    if not isinstance(said, list) or not said or len(said) > MOST:
        problems.add(where, f"{said!r} lists no instances: give names, a number up to {MOST}, or {{file: list.txt}}")
        return None
    bad = next((name for name in said if isinstance(name, bool) or not isinstance(name, str | int)), None)
    if bad is not None:
        problems.add(where, f"{bad!r} is no instance's name: write text or whole numbers")
        return None
    return [str(name) for name in said]
