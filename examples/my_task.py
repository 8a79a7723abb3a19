"""A training function of one's own: a small classifier of tumours (569 cases, 30 measurements each), in torch.

Run it with `searchd run examples/my_task.yaml`. `train` gets a Trial: `trial.config` is the configuration,
`trial.steps()` the steps to train, `report` and `save` what came of each. It never decides how long a trial runs.
`describe` says before that how large the model is: one that breaks the study's bound is never trained.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from workers.trial import Trial


def data() -> tuple[torch.Tensor, ...]:
    """(training inputs [426, 30], labels; validation inputs [143, 30], labels), standardized by the training part."""
    x, y = (torch.tensor(part) for part in load_breast_cancer(return_X_y=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[order].float(), y[order]
    mean, deviation = x[143:].mean(0), x[143:].std(0)
    x = (x - mean) / deviation
    return x[143:], y[143:], x[:143], y[:143]


def build(trial: Trial) -> nn.Module:
    width, depth = trial.config["width"], trial.config["depth"]
    layers: list[nn.Module] = []
    for size in [30] + [width] * (depth - 1):
        layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(trial.config["dropout"])]
    return nn.Sequential(*layers, nn.Linear(width, 2))


def describe(trial: Trial) -> dict[str, int]:
    return {"parameters": sum(p.numel() for p in build(trial).parameters())}


def train(trial: Trial) -> None:
    x, y, x_val, y_val = data()
    model = build(trial)
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.config["lr"])

    trial.load(model, optimizer)
    for _ in trial.steps():
        model.train()
        for batch in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_error = 100 * (model(x_val).argmax(1) != y_val).float().mean()
        trial.report(val_error=val_error, train_loss=loss)
        trial.save(model, optimizer)
