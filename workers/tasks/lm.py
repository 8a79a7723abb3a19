"""The built-in task `lm`: train a small character language model whose layers can be skipped.

One step is `updates` optimizer steps. A report says `val_loss` (nats a character), `val_error` (percent of characters
that it would not have said), `train_loss`, and `points`, one a skip schedule: all layers, evenly kept ones, and depths
that fall over the positions of a sequence. In training, a share `skip_training` of the batches runs through a schedule
drawn at random, so that the network can do without the layers. Resumed, it goes on bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter, functional

from searchd.wire import JobSpec
from spaces.builtin.lm import CONTEXT, UPDATES
from spaces.errors import SpaceError
from spaces.schedules import scheduled
from spaces.transformers import DEFAULTS, transformer, warm
from workers import texts
from workers.measurers import Measurer, Run, onnx_run
from workers.nets.transformer import LanguageModel
from workers.nets.transformer_graph import token
from workers.optimizers import Optimizers, Roles, build
from workers.tasks.lm_export import export, judge, latency
from workers.tasks.skips import drawn, mask_of, rates, schedules
from workers.texts import Text
from workers.trial import Trial

__all__ = ["export", "measure", "prepare", "train"]


def train(trial: Trial) -> None:
    """Train the model of `trial.config` on the text of `trial.options`, step by step."""
    torch.set_num_threads(1)
    context = int(trial.options.get("context", CONTEXT))
    text = texts.load(str(trial.options["text"]), context)
    net = LanguageModel(transformer(trial.config, context), trial.seed)
    optimizer = optimizer_of(net, trial.at(1))
    changes = scheduled(trial.config)
    trial.load(model=net, **optimizer.parts)
    for step in trial.steps():
        config = trial.at()
        if changes:
            optimizer.follow(optimizer_of(net, config))
        loss = run_step(net, optimizer, text, config, int(trial.options.get("updates", UPDATES)), trial.seed, step)
        trial.report({"train_loss": loss}, points=evaluate(net, text.val, warm(config)))
        trial.report(_whole(net, text))
        trial.save(model=net, **optimizer.parts)


def _whole(net: LanguageModel, text: Text) -> dict[str, float]:
    loss, error = judge(net, text.val, None)
    return {"val_loss": loss, "val_error": error}


def measure(spec: JobSpec) -> dict[str, Any]:
    """Milliseconds of one decoded character through 1, 2, … layers, the cache full."""
    options = spec.task.get("options") or {}
    net = LanguageModel(transformer(spec.nested, int(options.get("context", CONTEXT))), 0)
    return {**latency(net), "signature": spec.signature}


def prepare(options: Mapping[str, Any], nested: Mapping[str, Any], exit_: int, by: Measurer) -> Run:
    """One decoded character through the first `exit_` + 1 layers of an untrained network, ready to be timed."""
    net = LanguageModel(transformer(nested, int(options.get("context", CONTEXT))), 0)
    return onnx_run(by, token(net, list(range(exit_ + 1))), np.array([1], np.int64))


def optimizer_of(net: LanguageModel, config: Mapping[str, Any]) -> Optimizers:
    """The optimizer that the config asks for: layers' matrices are hidden, embeddings and the head are not."""
    said = config.get("optimizer", DEFAULTS["optimizer"])
    hyper = {"name": said} if isinstance(said, str) else dict(said)
    hidden: list[Parameter] = []
    heads: list[Parameter] = []
    rest: list[Parameter] = []
    for name, parameter in net.named_parameters():
        (rest if parameter.dim() < 2 else hidden if name.startswith("layers.") else heads).append(parameter)
    return build(str(hyper.get("name")), Roles(tuple(hidden), tuple(heads), tuple(rest)), hyper)


def run_step(
    net: LanguageModel, optimizer: Optimizers, text: Text, config: Mapping[str, Any], updates: int, seed: int, step: int
) -> float:
    """`updates` optimizer steps on windows drawn from (seed, step) alone; the mean loss."""
    batch, share = _number(config, "batch_size", 1), _number(config, "skip_training", 0)
    rng = np.random.default_rng([seed % 2**63, step])
    net.train()
    optimizer.train()
    total = 0.0
    for _ in range(updates):
        starts = torch.from_numpy(rng.integers(len(text.train) - net.spec.context - 1, size=int(batch)))
        x, y = texts.windows(text.train, starts, net.spec.context)
        mask = drawn(net.spec, warm(config), rng) if rng.random() < share else None
        loss = functional.cross_entropy(net(x, mask).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        optimizer.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        total += float(loss.detach())
    optimizer.eval()
    return total / updates


def _number(config: Mapping[str, Any], name: str, least: float) -> float:
    value = config.get(name, DEFAULTS[name])
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        raise SpaceError(f"{name} is {value!r}, but has to be a number of at least {least:g}: change its range")
    return float(value)


def evaluate(net: LanguageModel, part: Tensor, always: int) -> list[dict[str, Any]]:
    """The operating points: `skip`, `val_loss`, `val_error`, `exit_rates` by number of layers, `macs` a character."""
    points = []
    for schedule in schedules(net.spec, always):
        mask = mask_of(schedule, net.spec)
        loss, error = judge(net, part, None if schedule["kind"] == "all" else mask)
        mean = float(mask.sum() / net.spec.context)
        points.append({
            "skip": schedule, "val_loss": loss, "val_error": error, "exit_rates": rates(mask),
            "macs": net.spec.macs(mean),
        })  # fmt: skip
    return points
