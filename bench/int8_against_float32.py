"""Is 8 bits faster than float32 on this CPU? Networks of the built-in task, measured side by side in one run.

    python -P bench/int8_against_float32.py > bench/int8_against_float32.csv

One row a network: p50 latency in µs to the last exit, batch 1, one thread, ONNX Runtime; float32 and int8 in turn,
`ROUNDS` times; medians over the rounds, and the spread of the ratio.
"""

from __future__ import annotations

import csv
import statistics
import sys

from spaces.nets import network
from workers.measure import as_float, device, latency, untrained

ROUNDS = 7
NETWORKS = (
    ("conv 8 and 16, 3x3, 8x8 map", {"width": 8, "depth": 2, "kernel": 3}, (1, 8, 8)),
    ("conv 16 and 32, 3x3, 8x8 map", {"width": 16, "depth": 2, "kernel": 3}, (1, 8, 8)),
    ("conv 32 and 64, 5x5, 8x8 map", {"width": 32, "depth": 2, "kernel": 5}, (1, 8, 8)),
    ("conv 64 and 128, 5x5, 8x8 map", {"width": 64, "depth": 2, "kernel": 5}, (1, 8, 8)),
    ("conv 32 to 128, 5x5, 3x32x32", {"width": 32, "depth": 3, "kernel": 5}, (3, 32, 32)),
    ("linear 512 and 1024, 64 features", {"width": 512, "depth": 2}, (64,)),
    ("linear 32 and 64, 13 features", {"width": 32, "depth": 2}, (13,)),
)


def main() -> None:
    rows = csv.writer(sys.stdout)
    rows.writerow(["device", "network", "float32_us", "int8_us", "float32_over_int8", "least", "most"])
    for name, config, shape in NETWORKS:
        net = untrained(network({**config, "bits": 8}, shape, 10))
        plain = as_float(net)
        pairs = [(latency(plain).exits[-1].p50_ms, latency(net).exits[-1].p50_ms) for _ in range(ROUNDS)]
        ratios = [a / b for a, b in pairs]
        medians = [1000 * statistics.median(column) for column in zip(*pairs, strict=True)]
        cells = [f"{v:.3g}" for v in (*medians, statistics.median(ratios), min(ratios), max(ratios))]
        rows.writerow([device(), name, *cells])
        sys.stdout.flush()


if __name__ == "__main__":
    main()
