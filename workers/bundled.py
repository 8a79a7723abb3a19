"""scikit-learn's small data sets, read from its files: importing scikit-learn (with it SciPy's statistics and pandas)
takes 1.7 s of a processor, which every worker would pay before its first job.

The files are no part of scikit-learn's interface: where one is not found, its own loader is asked.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILES = {
    "breast_cancer": "breast_cancer.csv", "digits": "digits.csv.gz", "iris": "iris.csv", "wine": "wine_data.csv",
}  # fmt: skip
"""Set → its file in `sklearn/datasets/data`. A .csv has a line of names first; in all, the class is the last column."""


def load(name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """x [n, features] or, of digits, [n, 8, 8], and the classes y [n], as `sklearn.datasets.load_<name>` gives them.
    ImportError without scikit-learn."""
    file = _file(name)
    if file is None:
        return _loaded(name)
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        rows = np.loadtxt(lines, delimiter=",", skiprows=0 if file.suffix == ".gz" else 1)
    x, y = rows[:, :-1], rows[:, -1].astype(np.int64)
    return (x.reshape(-1, 8, 8) if name == "digits" else x), y


def _file(name: str) -> Path | None:
    """Where the set's file lies; found without importing scikit-learn."""
    found = find_spec("sklearn")
    for folder in (found.submodule_search_locations or []) if found is not None else []:
        file = Path(folder) / "datasets" / "data" / FILES[name]
        if file.is_file():
            return file
    return None


def _loaded(name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name}")()
    return np.asarray(bunch.images if name == "digits" else bunch.data), np.asarray(bunch.target, dtype=np.int64)
