"""Makes elastic.json: one super-network trained, a few hundred of its sub-networks measured, light predictors fitted.

    OMP_NUM_THREADS=1 python -m bench.quality.record_elastic            # some minutes of one core
    python -m bench.quality.record_elastic --fit                        # the predictors alone, from what was measured

The space is Once-for-All's at one resolution: five units of two to four blocks, kernels 3, 5 and 7, expansions 3, 4
and 6, with few channels, on the bundled digits. The task `supernet` begins depths at 1 and halves
expansions, so the space is made here; all else is the task's own: the sandwich rule, the optimizer, batch norms taken
anew, operators timed one by one and put to scale by whole sub-networks. Errors are of the samples that were not trained
on, validation and test.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from numpy.random import Generator

from bench.quality.elastic import FILE, KERNELS, WIDTHS, digits_of, one_hot
from spaces.elastic import PER_BLOCK, ElasticSpace, Genome, Unit, key

CHANNELS = (6, 8, 8, 12, 12)
STRIDES = (1, 2, 1, 2, 1)
SIDE = 8
EPOCHS, BATCH, SEED = 6, 64, 0
SAMPLES = 240
ALPHAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


def space() -> ElasticSpace:
    """21,758,655,492,572,485,851 sub-networks."""
    units = tuple(Unit(c, s, (2, 3, 4), (3, 5, 7), (3, 4, 6)) for c, s in zip(CHANNELS, STRIDES, strict=True))
    return ElasticSpace((1, SIDE, SIDE), 10, "bottleneck", CHANNELS[0], units, (SIDE,))


def tilted(elastic: ElasticSpace, rng: Generator) -> dict[str, Any]:
    """A sub-network whose genes all lean to the small or to the large, by as much as was drawn for it: evenly drawn
    genes alone are nearly all of middle size."""
    lean = rng.uniform(-2, 2)

    def draw(options: Any) -> Any:
        weights = np.exp(lean * np.linspace(-1, 1, len(options)))
        return options[int(rng.choice(len(options), p=weights / weights.sum()))]

    units = []
    for u in range(len(elastic.units)):
        choices = elastic.choices(u)
        depth = draw(choices["depth"])
        units.append({"depth": depth, **{n: [draw(choices[n]) for _ in range(depth)] for n in PER_BLOCK}})
    return {"resolution": SIDE, "units": units}


def measured() -> dict[str, Any]:
    """Train, and measure: `samples` [digits of the genome, error %, latency ms], `blocks` ms [unit][first, later]
    [kernel][expansion] and `rest_ms` of all that every sub-network has."""
    import torch

    from spaces.builtin.supernet import DEFAULTS
    from spaces.subnets import subnet
    from workers import data as datasets
    from workers.nets.elastic import Supernet
    from workers.nets.subnet import cut
    from workers.nets.subnet_graph import build
    from workers.supernet.finder import WHOLES, calibration, judged
    from workers.supernet.table import Table
    from workers.supernet.training import ladder, rule_of
    from workers.tasks.supernet import optimizer_of, run_epoch

    torch.set_num_threads(1)
    elastic = space()
    data = datasets.load({"data": "digits"})
    x, y = torch.cat([data.val.x, data.test.x]), torch.cat([data.val.y, data.test.y])
    net = Supernet(elastic, SEED)
    config = {"training": "sandwich", "samples": 2, "optimizer": {"name": "adamw", "lr": 3e-3}}
    rule = rule_of(elastic, config, SEED, DEFAULTS)
    optimizer = optimizer_of(net, config)
    sample = data.train.x[calibration(len(data.train), 512)]

    @torch.no_grad()
    def error(genome: Genome) -> float:
        return judged(cut(net, subnet(elastic, genome), sample)(x), y)[0]

    began = time.process_time()
    for epoch in range(1, EPOCHS + 1):
        loss = run_epoch(net, optimizer, data.train, rule, epoch, BATCH, 1.0, None)
        big, small = error(elastic.extreme(True)), error(elastic.extreme(False))
        print(f"epoch {epoch} loss {loss:.3f} errors {big:.2f} {small:.2f} cpu {time.process_time() - began:.0f}")
        sys.stdout.flush()

    table = Table()
    wholes = []
    for genome in ladder(elastic, WHOLES):
        spec = subnet(elastic, genome)
        wholes.append((spec.operators, lambda spec=spec: build(cut(net, spec, sample))))
    table.scale(wholes)
    rng = np.random.default_rng(SEED)
    genomes: dict[str, Genome] = {}
    for genome in (elastic.extreme(False), elastic.extreme(True)):
        genomes[key(genome)] = genome
    while len(genomes) < SAMPLES:
        genome = tilted(elastic, rng)
        genomes[key(genome)] = genome
    found = [
        [digits_of(g), round(error(g), 3), round(table.latency(subnet(elastic, g).operators), 5)]
        for g in genomes.values()
    ]
    print(f"measured, cpu {time.process_time() - began:.0f}")

    def block(unit: int, which: int, kernel: int, width: int) -> float:
        genome = elastic.extreme(False)
        genome["units"][unit]["kernels"][which], genome["units"][unit]["widths"][which] = kernel, width
        steps = subnet(elastic, genome).steps
        inside = [s.operator for s in steps if s.name.startswith(f"units.{unit}.{which}.")]
        return table.latency(inside) - table.latency(())

    blocks = [[[[round(block(u, b, k, w), 6) for w in WIDTHS] for k in KERNELS] for b in (0, 1)] for u in range(5)]
    rest = table.latency(subnet(elastic, elastic.extreme(False)).operators) - sum(b[0][0] for u in blocks for b in u)
    return {"rest_ms": round(rest, 6), "blocks_ms": blocks, "samples": found}


def ridge(x: np.ndarray, y: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """(weights, level) of the product's own ridge regression, as y = x @ weights + level."""
    from workers.supernet.predictors import Ridge

    model = Ridge(alpha).fit(x, y)
    level = float(model.predict(np.zeros((1, x.shape[1])))[0])
    return model.predict(np.eye(x.shape[1])) - level, level


def fitted(found: dict[str, Any]) -> dict[str, Any]:
    """The predictor of the error, its penalty by ten folds, and how good it was on what it was not fitted on."""
    x = np.array([one_hot(text) for text, _, _ in found["samples"]])
    y = np.array([error for _, error, _ in found["samples"]])
    fold = np.random.default_rng(1).permutation(len(y)) % 10
    said = {}
    for alpha in ALPHAS:
        held = np.empty(len(y))
        for k in range(10):
            weights, level = ridge(x[fold != k], y[fold != k], alpha)
            held[fold == k] = x[fold == k] @ weights + level
        said[alpha] = held
    alpha = min(ALPHAS, key=lambda a: float(((said[a] - y) ** 2).mean()))
    held = np.clip(said[alpha], y.min(), y.max())
    weights, level = ridge(x, y, alpha)
    places = np.array([np.argsort(np.argsort(v)) for v in (held, y)], float)
    return {
        "alpha": alpha,
        "held_out": {
            "rmse": round(float(np.sqrt(((held - y) ** 2).mean())), 3),
            "r2": round(float(1 - ((held - y) ** 2).mean() / y.var()), 3),
            "rank_correlation": round(float(np.corrcoef(places)[0, 1]), 3),
        },
        "weights": [round(float(w), 4) for w in weights],
        "level": round(level, 4),
        "seen": [float(y.min()), float(y.max())],
    }


def main(words: list[str]) -> None:
    found = json.loads(FILE.read_text()) if "--fit" in words else measured()
    found = {name: found[name] for name in ("rest_ms", "blocks_ms", "samples")}
    found["error"] = fitted(found)
    print(found["error"]["alpha"], found["error"]["held_out"], found["error"]["seen"])
    lines = [f'"{name}": {json.dumps(value)}' for name, value in found.items() if name != "samples"]
    rows = ",\n".join(json.dumps(row) for row in found["samples"])
    FILE.write_text("{" + ",\n".join(lines) + ',\n"samples": [\n' + rows + "\n]}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
