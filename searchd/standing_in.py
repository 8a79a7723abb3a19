"""What a run on this machine takes a study's device for, where nobody said so."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from searchd.folder import Folder
from spaces.study import Study


def stands_in(study: Study, root: Path) -> tuple[str, ...]:
    """Lines for a person: a name that no device has stands for this CPU, and an accelerator that does not answer."""
    hardware = study.device.partition(":")[0]
    if hardware == "cpu":
        return ()
    if hardware == "cuda":
        missing = "device: no accelerator answers on this machine (nvidia-smi), but the study is for cuda"
        return () if shutil.which("nvidia-smi") else (missing,)
    with contextlib.closing(Folder(root)) as folder:
        if any(row["name"] == study.device for row in folder.devices()):
            return ()
    return (
        f"device: {study.device!r} is registered nowhere below {root}/, so that this machine's CPU stands for it: what "
        f"is measured is this CPU's; `searchd device add {study.device}` registers it, `searchd worker --device "
        f"{study.device}=cuda` serves it elsewhere",
    )
