"""Data of the built-in task: scikit-learn's sets, MNIST-1D, or an `.npz` with `x` and `y`, split and normalised.

The split is stratified 60 / 20 / 20 and depends on the data only (its seed is fixed), so that every trial of every
study is compared on the same validation samples. Normalisation is learned on the training part: images go to [0, 1]
by its range, vectors to mean 0 and standard deviation 1 by feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spaces.errors import SearchdError
from workers import bundled
from workers.mnist1d import generate

BUNDLED = ("breast_cancer", "digits", "iris", "mnist1d", "wine")
FRACTION = 0.2
"""Share of the samples of each class in validation, and again in test."""
SPLIT_SEED = 0
LEAST = 5
"""A class needs this many samples: one in validation, one in test, three to learn from."""


class DataError(SearchdError):
    """Data that cannot be read or learned from."""


@dataclass(frozen=True, slots=True)
class Part:
    """`x` [n, *shape] float32, normalised; `y` [n] int64."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True)
class Data:
    """A data set ready to train on. `shift` and `scale`: normalised = (raw − shift) · scale, [] or [F]."""

    name: str
    shape: tuple[int, ...]
    classes: int
    labels: tuple[str, ...]
    train: Part
    val: Part
    test: Part
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]


def load(options: Mapping[str, Any]) -> Data:
    """The data that the task's options name: `data` is a bundled name or a path.

    DataError when it cannot be used, or is not of the `shape` and `classes` that the study was submitted with.
    """
    name = str(options.get("data", "digits"))
    if name in BUNDLED:
        return _prepare(name, 0)
    path = Path(name)
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as e:
        raise DataError(
            f"the data {name!r} is neither a bundled set ({', '.join(BUNDLED)}) nor a file that can be read"
            f" ({e.strerror}): correct the path, or make it absolute so that every worker finds it"
        ) from e
    data = _prepare(name, stamp)
    said = tuple(options.get("shape") or data.shape), options.get("classes", data.classes)
    if said != (data.shape, data.classes):
        raise DataError(
            f"{name} holds samples of shape {list(data.shape)} in {data.classes} classes, but the study was submitted"
            f" with {list(said[0])} and {said[1]}: put the file back, or submit the study again"
        )
    return data


@lru_cache(maxsize=4)
def _prepare(name: str, stamp: int) -> Data:  # noqa: ARG001  (the stamp is part of the cache's key)
    x, y = _bundled(name) if name in BUNDLED else _npz(Path(name))
    labels, codes = np.unique(y, return_inverse=True)
    if len(labels) < 2:
        raise DataError(f"{name}: all {len(y)} samples have the label {labels[0]}: a classifier needs two classes")
    train, val, test = split(codes, SPLIT_SEED)
    shift, scale = _normaliser(x[train])
    x = ((x - shift) * scale).astype(np.float32)

    def part(index: NDArray[np.int64]) -> Part:
        return Part(torch.from_numpy(x[index]).contiguous(), torch.from_numpy(codes[index].astype(np.int64)))

    return Data(
        name=name,
        shape=tuple(int(s) for s in x.shape[1:]),
        classes=len(labels),
        labels=tuple(str(v) for v in labels.tolist()),
        train=part(train),
        val=part(val),
        test=part(test),
        shift=shift,
        scale=scale,
    )


def split(codes: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Indices of train, validation and test, stratified by class; a function of the labels and the seed."""
    rng = np.random.default_rng([seed, len(codes)])
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for label in range(int(codes.max()) + 1):
        members = rng.permutation(np.flatnonzero(codes == label))
        if len(members) < LEAST:
            raise DataError(
                f"class {label} has {len(members)} samples, but a split in train, validation and test needs {LEAST}:"
                " add samples, or leave the class out"
            )
        held = max(1, round(FRACTION * len(members)))
        for kept, chosen in zip(parts, np.split(members, [len(members) - 2 * held, len(members) - held]), strict=True):
            kept.append(chosen)
    train, val, test = (np.sort(np.concatenate(p)) for p in parts)
    return train, val, test


def _bundled(name: str) -> tuple[NDArray[np.float32], NDArray[Any]]:
    if name == "mnist1d":
        return generate()
    raw, y = bundled.load(name)
    x = np.asarray(raw, dtype=np.float32)
    return (x[:, None] if name == "digits" else x), y


def _npz(path: Path) -> tuple[NDArray[np.float32], NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = {"x", "y"} - set(file.files)
            if missing:
                found = ", ".join(file.files) or "nothing"
                raise DataError(
                    f"{path} holds {found}, but needs arrays named x and y: save it with np.savez(path, x=x, y=y)"
                )
            x, y = np.asarray(file["x"]), np.asarray(file["y"])
    except (OSError, ValueError) as e:
        raise DataError(f"{path} cannot be read as .npz ({e}): save it with np.savez(path, x=x, y=y)") from e
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim not in {2, 4} or y.shape != (len(x),):
        raise DataError(
            f"{path}: x has shape {list(x.shape)} and y {list(y.shape)}, but x has to be [n, features], [n, H, W]"
            " or [n, C, H, W] and y [n]: reshape them"
        )
    if y.dtype.kind == "f" and not np.all(np.isfinite(y)):
        raise DataError(f"{path}: y has values that are not finite: labels have to be classes")
    x = x.astype(np.float32)
    if not np.all(np.isfinite(x)):
        raise DataError(f"{path}: {int((~np.isfinite(x)).sum())} values of x are not finite: clean or impute them")
    return x, y


def _normaliser(train: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(shift, scale) from the training part; a constant keeps scale 1."""
    if train.ndim == 4:
        low, high = train.min(), train.max()
        return np.asarray(low, np.float32), np.asarray(1.0 / (high - low) if high > low else 1.0, np.float32)
    std = train.std(axis=0)
    return train.mean(axis=0).astype(np.float32), (1.0 / np.where(std > 0, std, 1.0)).astype(np.float32)
