"""A program to configure: it sorts, by quicksort with insertion sort below a cutoff, lists of several kinds.

How fast it is depends on `cutoff` and `pivot`, and on the kind of list: so no single list tells. It runs once on one
instance and ends; `searchd` measures the time, and ends it when another config was faster. The instance's name and seed
are in the environment. Run: `searchd run examples/my_solver.yaml`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys


def main() -> int:
    config = json.load(sys.stdin)
    kind, draw = os.environ["SEARCHD_INSTANCE"], random.Random(int(os.environ["SEARCHD_INSTANCE_SEED"]))
    values = [draw.random() for _ in range(60_000)]
    if kind == "nearly-sorted":
        values.sort()
        for _ in range(50):
            i = draw.randrange(len(values))
            values[i] = draw.random()
    elif kind == "few-values":
        values = [round(v, 3) for v in values]
    comparisons = sort(values, int(config["cutoff"]), str(config["pivot"]), draw)
    print(json.dumps({"comparisons": comparisons}))
    return 0 if all(a <= b for a, b in itertools.pairwise(values)) else 1


def sort(values: list[float], cutoff: int, pivot: str, draw: random.Random) -> int:
    """Sorts in place; how many comparisons of the insertion sort it took."""
    comparisons, stack = 0, [(0, len(values) - 1)]
    while stack:
        low, high = stack.pop()
        if high - low < cutoff:
            for i in range(low + 1, high + 1):
                value, j = values[i], i - 1
                while j >= low and values[j] > value:
                    values[j + 1] = values[j]
                    j -= 1
                    comparisons += 1
                values[j + 1] = value
            continue
        place = {"first": low, "middle": (low + high) // 2, "random": draw.randint(low, high)}[pivot]
        at, i, j = values[place], low, high
        while i <= j:
            while values[i] < at:
                i += 1
            while values[j] > at:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        stack += [(low, j), (i, high)]
    return comparisons


if __name__ == "__main__":
    sys.exit(main())
