"""Examples at a size that a test can hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from spaces.study import Study
from tests.support.fleet import ROOT


def smaller(name: str, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """`examples/NAME.yaml` with what `change` does to it, as a file in `folder`."""
    spec = Study.load(ROOT / "examples" / f"{name}.yaml").dump()
    change(spec)
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file
