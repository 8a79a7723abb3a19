"""A world from recorded curves: a table of configs × steps. A config that is not in it trains like its nearest row.

    world = Table.load("lcbench.npz", study, prefix="167168_")

A file has `hp` [n, d] in raw units with `hp_names` [d], and one array [n, R] a metric. `<name>cum_time_s` [n, R]
gives the durations (cumulative); without it every step takes one second. NaN is a diverged trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searchd.errors import BadSetting, SearchdError, SpaceError
from searchd.schedulers.events import TrialId
from searchd.simulator.world import Step
from spaces.config import Config
from spaces.space import Space

TIME = "cum_time_s"


class Table:
    """`configs`: the rows, n. `metrics`: [n, R] by name. `seconds`: [n, R], each step's own. Nearest in the unit cube
    of the space; a parameter that only one of two configs has counts 1."""

    def __init__(
        self, space: Space, configs: Sequence[Mapping[str, Any]], metrics: Mapping[str, ArrayLike],
        seconds: ArrayLike | None = None,
    ) -> None:  # fmt: skip
        self.space = space
        self.metrics = {name: np.asarray(values, dtype=np.float64) for name, values in metrics.items()}
        shapes = {values.shape for values in self.metrics.values()}
        if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2 or shape[0] != len(configs):
            seen = ", ".join(f"{name} {list(values.shape)}" for name, values in self.metrics.items()) or "none"
            raise SearchdError(f"a table of {len(configs)} configs needs metrics [{len(configs)}, R], but has {seen}")
        self.R = shape[1]
        self.seconds = np.ones(shape) if seconds is None else np.asarray(seconds, dtype=np.float64)
        if self.seconds.shape != shape or not (np.isfinite(self.seconds) & (self.seconds >= 0)).all():
            raise SearchdError(
                f"a table needs seconds {list(shape)}, each 0 or more: those of each step, not their sum"
            )
        try:
            known = [space.complete(config) for config in configs]
        except SpaceError as error:
            raise SearchdError(f"the table's configs are none of the study's space: {error}") from None
        self._units = np.stack([_filled(space.encode(config)) for config in known])
        self._rows = {config.digest: row for row, config in enumerate(known)}

    @classmethod
    def load(cls, path: str | Path, space: Space, prefix: str = "") -> Table:
        """The table in an `.npz` file; of several tasks in it, the one whose arrays begin with `prefix`."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise BadSetting(f"{path}: there is no such file; a table of recorded curves is read from it") from None
        except (OSError, ValueError) as error:
            raise SearchdError(f"{path} cannot be read as .npz: {error}") from None
        if "hp" not in arrays or "hp_names" not in arrays:
            raise SearchdError(f"{path} is no table: it needs hp [n, d] and hp_names [d], but has {', '.join(arrays)}")
        hp, names = arrays.pop("hp"), [str(name) for name in arrays.pop("hp_names")]
        rows = {
            name.removeprefix(prefix): values
            for name, values in arrays.items()
            if name.startswith(prefix) and values.ndim == 2 and len(values) == len(hp)
        }
        if not set(rows) - {TIME}:
            tasks = ", ".join(sorted(arrays))
            raise SearchdError(f"{path} has no metric that begins with {prefix!r}: there are {tasks}")
        clock = rows.pop(TIME, None)
        seconds = None if clock is None else np.maximum(np.diff(clock, axis=1, prepend=0.0), 0.0)
        return cls(space, [_config(names, row) for row in hp], rows, seconds)

    def row(self, config: Config) -> int:
        """The row that a config trains like."""
        found = self._rows.get(config.digest)
        if found is None:
            away = ((self._units - _filled(self.space.encode(config))) ** 2).sum(axis=1)
            found = self._rows[config.digest] = int(np.argmin(away))
        return found

    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Iterator[Step]:  # noqa: ARG002
        """The row's steps; SearchdError beyond the table's last."""
        if until > self.R:
            raise SearchdError(f"the table ends at step {self.R}, but a job goes to {until}: lower the study's R")
        row = self.row(config)
        columns = {name: values[row].tolist() for name, values in self.metrics.items()}
        for step, seconds in enumerate(self.seconds[row, since:until].tolist(), since + 1):
            yield Step(step, seconds, {name: values[step - 1] for name, values in columns.items()})


def _filled(units: NDArray[np.float64]) -> NDArray[np.float64]:
    """A point of the unit cube with inactive parameters outside of it, so that they are near each other only."""
    return np.nan_to_num(units, nan=-1.0)


def _config(names: Sequence[str], row: NDArray[Any]) -> dict[str, Any]:
    """A row of `hp` as values: whole ones as integers, which a float takes too."""
    values = [value.item() for value in row]
    return {n: int(v) if float(v).is_integer() else v for n, v in zip(names, values, strict=True)}
