"""A world from a model: any function of a config that answers whole curves, or an ONNX file that does.

world = Surrogate(lambda config: ({"loss": curve}, seconds), R=81)
world = Surrogate(OnnxCurves("model.onnx", R=52, parameters=("batch_size", "learning_rate"),
                             outputs={"val_error": 1}, errors={"val_error": 100}, clock=0,
                             constants={"x_cat": [3]}), R=52)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from searchd.errors import Missing, SearchdError
from searchd.schedulers.events import TrialId
from searchd.simulator.world import Step
from spaces.config import Config

Curves = Callable[[Config], tuple[Mapping[str, ArrayLike], ArrayLike | float]]
"""A config → (metrics by name [R], seconds of each step [R] or one number for all)."""
LEAST_S = 1e-3
"""A step of a model's clock takes at least so long: such clocks do not always go on."""
KEPT = 4096
"""Curves that are kept, for trials that are paused and go on."""


class Surrogate:
    """Asks the model once a config."""

    def __init__(self, curves: Curves, R: int) -> None:
        self.R = R
        self._curves = curves
        self._kept: dict[str, tuple[dict[str, list[float]], list[float]]] = {}

    def train(self, trial: TrialId, config: Config, since: int, until: int) -> Iterator[Step]:  # noqa: ARG002
        """The model's steps; SearchdError beyond R, and for curves of another length."""
        if until > self.R:
            raise SearchdError(f"the model ends at step {self.R}, but a job goes to {until}: lower the study's R")
        metrics, seconds = self._curve(config)
        for step in range(since + 1, until + 1):
            yield Step(step, seconds[step - 1], {name: values[step - 1] for name, values in metrics.items()})

    def _curve(self, config: Config) -> tuple[dict[str, list[float]], list[float]]:
        found = self._kept.get(config.digest)
        if found is None:
            metrics, clock = self._curves(config)
            curves = {name: np.asarray(values, dtype=np.float64) for name, values in metrics.items()}
            seconds = np.broadcast_to(np.asarray(clock, dtype=np.float64), (self.R,))
            for name, curve in curves.items():
                if curve.shape != (self.R,):
                    raise SearchdError(f"the model's {name} needs one value a step [{self.R}], not {list(curve.shape)}")
            if len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            found = ({name: curve.tolist() for name, curve in curves.items()}, seconds.tolist())
            self._kept[config.digest] = found
        return found


class OnnxCurves:
    """An ONNX model as a function: one row a step, [step, parameters in raw units…] float32, to columns of its output.

    parameters  names in the order of the input's columns after the step
    outputs     metric → column of the output
    errors      metric → the whole that its column is taken from: {"val_error": 100} where the column is an accuracy
    clock       the column with the cumulative seconds; None: one second a step
    constants   further inputs that are the same for every row, by name; whole numbers
    name        of the input with the rows
    Missing without onnxruntime.
    """

    def __init__(
        self, path: str | Path, *, R: int, parameters: Sequence[str], outputs: Mapping[str, int],
        clock: int | None = None, constants: Mapping[str, Sequence[int]] | None = None, name: str = "x_cont",
        errors: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        if find_spec("onnxruntime") is None:
            raise Missing("a world from an ONNX model needs onnxruntime: pip install onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._steps = np.arange(1, R + 1, dtype=np.float32)
        self._parameters = tuple(parameters)
        self._outputs = dict(outputs)
        self._clock = clock
        self._input = name
        self._errors = dict(errors or {})
        self._constants = {
            key: np.tile(np.asarray(row, dtype=np.int32), (R, 1)) for key, row in (constants or {}).items()
        }

    def __call__(self, config: Config) -> tuple[Mapping[str, NDArray[np.float64]], NDArray[np.float64] | float]:
        """The curves of a config, and the seconds of each step."""
        rows = np.empty((len(self._steps), 1 + len(self._parameters)), dtype=np.float32)
        rows[:, 0] = self._steps
        rows[:, 1:] = [config[name] for name in self._parameters]
        found = np.asarray(self._session.run(None, {self._input: rows, **self._constants})[0], dtype=np.float64)
        curves = {name: found[:, column] for name, column in self._outputs.items()}
        for name, whole in self._errors.items():
            curves[name] = whole - curves[name]
        if self._clock is None:
            return curves, 1.0
        return curves, np.maximum(np.diff(found[:, self._clock], prepend=0.0), LEAST_S)
