"""What goes with every export: the study that makes it again (`reproduce.yaml`), and in each card how, with what
libraries it was made, and which files belong to it, with their SHA-256.

A card gets `task`, `files` (bytes and SHA-256 of each file that it describes), `libraries`, and `reproduce` (`file`,
`command`, `exact`: what has to come out equal, `may_differ`: what may not and why).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from searchd.storage.local import write_atomically
from searchd.wire import JobSpec
from spaces.kernels import ONNX, PRECISE
from spaces.reproduces import FILE, as_yaml, command, split
from workers.trial import Trial

PACKAGES = ("searchd", "numpy", "torch", "onnxruntime", "onnx", "scikit-learn", "pytorch_optimizer", "torchao")
EXACT = "every error and loss, sizes and counts: equal to the digit with the libraries below, on this processor"
MAY_DIFFER = (
    "latencies (they are measured again); and errors, in their last digits or by a few samples, with other versions of "
    "the libraries or on another kind of processor, whose kernels add up in another order"
)


def prepare(trial: Trial, spec: JobSpec) -> None:
    """Put the files that a reproduced training rests on into the trial's folder; what lies there already stays."""
    for name, content in spec.given.items():
        path = trial.files / Path(name).name
        if not path.exists():
            write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def complete(
    trial: Trial, spec: JobSpec, result: Mapping[str, Any], rests_on: Sequence[str] = (),
    clock: Mapping[str, float] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write `reproduce.yaml`, complete the cards among the files of an export, and answer its result with that file.

    `rests_on`: names of JSON files in a trial's folder that its training read; `clock`: how fast the machine ran while
    figures were taken (`workers.pace`), for the cards. As it was without `spec.reproduce`.
    """
    if spec.reproduce is None:
        return dict(result)
    libraries = {**versions(), "device": str(result.get("device") or ""), **data_digest(trial.options)}
    study = finished(trial, spec, result, libraries, rests_on)
    write_atomically(trial.files / FILE, as_yaml(study, command()))
    names = [str(name) for name in result.get("files", ())]
    cards = [name for name in names if is_card(name)]
    for name in cards:
        path = trial.files / name
        card = json.loads(path.read_bytes())
        up = "../" * (len(Path(name).parts) - 1)
        card |= {
            "task": {str(spec.task["kind"]): trial.options},
            "files": {Path(n).name: digest(trial.files / n) for n in belonging(name, names, cards)},
            **({} if clock is None else {"clock": dict(clock)}),
            **({"session": {PRECISE: "1"}} if (spec.runtime or ONNX) == ONNX else {}),
            "libraries": libraries, "runtime": spec.runtime or ONNX,
            "reproduce": {"file": up + FILE, "command": command(up + FILE), "exact": EXACT, "may_differ": MAY_DIFFER},
        }
        text = json.dumps(card, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode())
    return {**result, "files": [*names, FILE]}


def finished(
    trial: Trial, spec: JobSpec, result: Mapping[str, Any], libraries: Mapping[str, str], rests_on: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    """The study of `spec.reproduce` with what only the worker knows: the step of the checkpoint that was exported, the
    figures that trainings rested on, and the metrics that were measured again. That of a reproduction stays as it is.
    """
    study: dict[str, Any] = json.loads(json.dumps(spec.reproduce))
    said = study["reproduces"]
    if "made_with" in said:
        return study
    if trial.durable is not None:
        said["trials"][-1]["until"] = study["search"]["R"] = trial.durable.step
    root = trial.files.parent
    for one in said["trials"]:
        found = {n: _json(root / str(one["trial"]) / n) for n in rests_on}
        if kept := {n: content for n, content in found.items() if content is not None}:
            one["files"] = kept
    measured = {p["point"]: split(p["metrics"])[1] for p in result.get("points", ())}
    for point in said["points"]:
        point["recorded"] = measured.get(point["point"], {})
    said["made_with"] = dict(libraries)
    return study


def is_card(name: str) -> bool:
    """Whether a file of an export is a card: `card.json`, `card-8-4.json`, `point-3/card.json`."""
    return Path(name).suffix == ".json" and Path(name).stem.partition("-")[0] == "card"


def belonging(card: str, names: Iterable[str], cards: Iterable[str]) -> list[str]:
    """The files that a card describes: those in its folder with its ending (`-8-4`), unless they have another card's.
    """
    folder, own = Path(card).parent, ending(card)
    others = [ending(c) for c in cards if Path(c).parent == folder and c != card and ending(c)]

    def mine(name: str) -> bool:
        stem = Path(name).stem
        if own:
            return stem.endswith(own)
        return not any(stem.endswith(other) for other in others)

    return [n for n in names if Path(n).parent == folder and n != card and mine(n) and not is_card(n)]


def ending(card: str) -> str:
    """What the name of a card has behind `card`: `-8-4`, or nothing."""
    return Path(card).stem.removeprefix("card")


def digest(path: Path) -> dict[str, Any]:
    """`bytes` and `sha256` of a file."""
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@cache
def versions() -> dict[str, str]:
    """Python and the libraries that a result depends on, as they are installed here."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def data_digest(options: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 of the file that a task learns from, as `data`; nothing where its data has a name."""
    for key in ("data", "text"):
        path = Path(str(options.get(key, "")))
        if path.is_absolute() and path.is_file():
            return {"data": f"sha256 {digest(path)['sha256']}"}
    return {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
