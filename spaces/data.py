"""Data sets of the built-in task: their shape and classes, without reading more than is needed.

Named ones are scikit-learn's, and MNIST-1D, which is generated; a path to an `.npz` holds `x` (numbers; [N, F] vectors,
[N, H, W] or [N, C, H, W] images) and `y` ([N], whole numbers; the classes are the distinct values of `y` in rising
order).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from spaces.errors import SpaceError
from spaces.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class DataShape:
    """One sample's shape ([F] or [C, H, W]) and the number of classes."""

    shape: tuple[int, ...]
    classes: int


NAMED: dict[str, DataShape] = {
    "digits": DataShape((1, 8, 8), 10),
    "wine": DataShape((13,), 3),
    "iris": DataShape((4,), 3),
    "breast_cancer": DataShape((30,), 2),
    "mnist1d": DataShape((40,), 10),
}


def data_shape(data: str) -> DataShape:
    """The shape of a named set or of an `.npz` file; SpaceError when there is none, or it is not of that form."""
    if data in NAMED:
        return NAMED[data]
    if not data.endswith(".npz"):
        raise SpaceError(f"{data!r} is no data set: {did_you_mean(data, NAMED)}; or give the path of an .npz file")
    path = Path(data)
    if not path.is_file():
        raise SpaceError(f"the data file {data} does not exist: give a path that the workers can read")
    try:
        shape, kind = _header(path, "x")
        labels = _read(path, "y")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SpaceError(f"{data} is no .npz with plain arrays x and y: {error}") from None
    if kind not in "biuf":
        raise SpaceError(f"{data}: x holds {kind!r}, but numbers are needed")
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise SpaceError(f"{data}: x has shape {shape}, but [N, F], [N, H, W] or [N, C, H, W] is needed")
    if labels.shape != shape[:1] or labels.dtype.kind not in "biu":
        had = f"y has shape {labels.shape} of {labels.dtype}"
        raise SpaceError(f"{data}: {had}, but [{shape[0]}] whole numbers are needed")
    classes = len(np.unique(labels))
    if classes < 2:
        raise SpaceError(f"{data}: y has {classes} class, but a classifier needs 2 or more")
    sample = shape[1:]
    return DataShape((1, *sample) if len(sample) == 2 else sample, classes)


def _member(archive: zipfile.ZipFile, name: str) -> str:
    if f"{name}.npy" not in archive.namelist():
        have = ", ".join(n.removesuffix(".npy") for n in archive.namelist()[:8])
        raise ValueError(f"it has no array {name!r}, only {have or 'nothing'}")
    return f"{name}.npy"


def _header(path: Path, name: str) -> tuple[tuple[int, ...], str]:
    """Shape and kind of one array, from its header alone."""
    with zipfile.ZipFile(path) as archive, archive.open(_member(archive, name)) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    return tuple(int(n) for n in shape), dtype.kind


def _read(path: Path, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    with zipfile.ZipFile(path) as archive, archive.open(_member(archive, name)) as file:
        array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = npy.read_array(file, allow_pickle=False)
    return array
