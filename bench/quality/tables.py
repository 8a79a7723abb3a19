"""Problems from recorded trainings, which are read where they lie: set SEARCHD_BENCH_DATA to the folder.

The folder holds `lcbench_surrogate/`, `taskset.npz` and `nb201.npz`; by default `shared/data` beside the checkout.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from bench.quality.spec import Curve, Param, Values

DATA = Path(os.environ.get("SEARCHD_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))


class NoData(Exception):
    """Recorded trainings are not here; the message says which file and where they were looked for."""


def data(name: str) -> Path:
    """The path of a file of the folder."""
    path = DATA / name
    if not path.exists():
        raise NoData(f"{path} does not exist: set SEARCHD_BENCH_DATA to the folder that has {name}")
    return path


class LcBench:
    """LCBench through the surrogate of YAHPO Gym: 7 parameters, 52 epochs, validation error in %, seconds.

    An answer is the best error at any epoch. Sources: Zimmer, Lindauer, Hutter (2021), TPAMI; Pfisterer, Schneider,
    Moosbauer, Binder, Bischl (2022), AutoML-Conf.
    """

    incumbent: Literal["any", "full"] = "any"
    objectives = 1
    steps = 52
    worst = 100.0
    full_runs = 25.0
    space: tuple[Param, ...] = (
        Param("batch_size", "int", 16, 512, log=True),
        Param("learning_rate", "float", 1e-4, 1e-1, log=True),
        Param("momentum", "float", 0.1, 0.99),
        Param("weight_decay", "float", 1e-5, 0.1),
        Param("num_layers", "int", 1, 5),
        Param("max_units", "int", 64, 1024, log=True),
        Param("max_dropout", "float", 0.0, 1.0),
    )

    def __init__(self, task: str) -> None:
        import onnxruntime

        self.name = f"lcbench:{task}"
        codes = json.loads(data("lcbench_surrogate/encoding.json").read_text())["OpenML_task_id"]
        if task not in codes:
            raise NoData(f"the surrogate has no task {task!r}; it has {', '.join(sorted(codes))}")
        self._code = codes[task]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._net = onnxruntime.InferenceSession(
            str(data("lcbench_surrogate/model.onnx")), options, providers=["CPUExecutionProvider"]
        )

    def curve(self, values: Values) -> Curve:
        return self.curves([values])[0]

    def curves(self, many: list[Values]) -> list[Curve]:
        """The curves of several configs in one call of the network."""
        x = np.empty((len(many) * 52, 8), np.float32)
        x[:, 0] = np.tile(np.arange(1, 53), len(many))
        x[:, 1:] = np.repeat([[v[p.name] for p in self.space] for v in many], 52, axis=0)
        said = self._net.run(None, {"x_cat": np.full((len(x), 1), self._code, np.int32), "x_cont": x})[0]
        return [self._read(rows) for rows in said.astype(float).reshape(len(many), 52, -1)]

    @staticmethod
    def _read(rows: np.ndarray) -> Curve:
        """The surrogate's time is not always monotone, and its first epoch has spikes: both are mended."""
        t = np.maximum(rows[:, 0], 1e-3)
        later = np.maximum(np.diff(t), 1e-3)
        seconds = np.concatenate([[min(t[0], t[-1] / 10 + 1e-3)], later]).cumsum()
        return Curve(100 - np.clip(rows[:, 1], 0, 100), seconds)


class TaskSet:
    """Adam with 8 parameters on a recurrent text task: 1,000 recorded configs, 51 evaluations, each one second.

    A config gets the curve of the nearest recorded one (every parameter in [0, 1] on its own scale), so nothing is
    invented, and the landscape is a mosaic. Losses are cut at 1.5 times the median first one, where trainings that
    blow up end; NaN stays. Source: Metz, Maheswaranathan, Sun, Freeman, Poole, Sohl-Dickstein (2020), arXiv.
    """

    TASKS: ClassVar = {
        "lstm-avg": "patch128_LSTM128_avg_bs64", "lstm-embed": "patch128_LSTM128_embed128_bs64",
        "gru": "patch32_GRU64_avg_bs128", "irnn": "patch32_IRNN64_relu_last_bs128",
        "lstm": "patch32_LSTM128_bs128", "vrnn": "patch32_VRNN64_relu_avg_bs128",
    }  # fmt: skip
    incumbent: Literal["any", "full"] = "any"
    objectives = 1
    steps = 51
    full_runs = 25.0
    space: tuple[Param, ...] = (
        Param("learning_rate", "float", 1e-8, 10.0, log=True),
        Param("one_minus_beta1", "float", 1e-4, 1.0, log=True),
        Param("one_minus_beta2", "float", 1e-6, 1.0, log=True),
        Param("epsilon", "float", 1e-10, 1e3, log=True),
        Param("l1", "float", 1e-8, 10.0, log=True),
        Param("l2", "float", 1e-8, 10.0, log=True),
        Param("linear_decay", "float", 1e-7, 1e-4, log=True),
        Param("exponential_decay", "float", 1e-6, 1e-3, log=True),
    )

    def __init__(self, task: str) -> None:
        self.name = f"taskset:{task}"
        with np.load(data("taskset.npz")) as file:
            raw, losses = file["hp"].astype(float), file[f"{self.TASKS[task]}_valid"].astype(float)
        raw[:, 1:3] = 1 - raw[:, 1:3]
        units = [[p.unit(min(max(v, p.low), p.high)) for p, v in zip(self.space, row, strict=True)] for row in raw]
        self._units = np.array(units)
        self.worst = 1.5 * float(np.nanmedian(losses[:, 0]))
        self._losses = np.minimum(losses, self.worst)
        self._seconds = np.arange(1.0, 52.0)

    def curve(self, values: Values) -> Curve:
        place = np.array([p.unit(values[p.name]) for p in self.space])
        return Curve(self._losses[int(((self._units - place) ** 2).sum(axis=1).argmin())], self._seconds)

    @property
    def best(self) -> float:
        """The least loss of the table."""
        return float(np.nanmin(self._losses))


OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


class Nas201:
    """Error and latency of NAS-Bench-201's architectures: [error %, ms], both in [0, 1].

    `nb201`: whole trainings only, and the latency is known by them. `nb201d`: it is known of any architecture before.
    `nb201f`: and there is a training of 12 epochs, which is step 1 of 3 (step 2 says nothing new) and costs 12/200.
    Sources: Dong, Yang (2020), ICLR; latencies: Li et al. (2021), ICLR (HW-NAS-Bench); Lee et al. (2021), NeurIPS.
    """

    incumbent: Literal["any", "full"] = "full"
    objectives = 2
    worst = 1.0
    full_runs = 50.0
    space: tuple[Param, ...] = tuple(Param(f"op{i}", "choice", options=OPERATIONS) for i in range(6))

    def __init__(self, spec: str, family: str = "nb201") -> None:
        dataset, device = spec.split("/")
        self.name = f"{family}:{spec}"
        self.describes = family != "nb201"
        self.steps = 3 if family == "nb201f" else 1
        with np.load(data("nb201.npz")) as file:
            error = 100 - np.nanmean(file[f"{dataset}_val200"], axis=1).astype(float)
            both = np.stack([error, file[f"latency_ms_{device}"].astype(float)], axis=1)
            short = file[f"{dataset}_val12"].astype(float)
            self.seconds = file[f"{dataset}_time200"].astype(float)
            self._row = {tuple(ops): i for i, ops in enumerate(file["ops"].tolist())}
        low, high = both.min(axis=0), both.max(axis=0)
        self.all = (both - low) / (high - low)
        self._short = (100 - short - low[0]) / (high[0] - low[0])

    def curve(self, values: Values) -> Curve:
        row = self._row_of(values)
        if self.steps == 1:
            return Curve(self.all[row : row + 1], self.seconds[row : row + 1])
        short = (self._short[row], self.all[row, 1])
        return Curve(np.array([short, short, self.all[row]]), self.seconds[row] * np.array([12 / 200, 0.5, 1.0]))

    def latency(self, values: Values) -> float:
        """What is known before training."""
        return float(self.all[self._row_of(values), 1])

    def _row_of(self, values: Values) -> int:
        return self._row[tuple(OPERATIONS.index(values[f"op{i}"]) for i in range(6))]
