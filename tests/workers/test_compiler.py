"""torch's compiler waits for what compiles: nothing of it before, all of it after, and what is disabled stays so."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

TRAINS = """
import json, sys
from workers import compiler
compiler.put_off()
import torch
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.AdamW([weight], lr=.1)
def step():
    optimizer.zero_grad()
    (weight * weight).sum().backward()
    optimizer.step()
step()
told = {"early": "torch._dynamo.eval_frame" in sys.modules, "weight": weight.tolist()}
"""
COMPILES = """
seen = []
def backend(graph, inputs):
    seen.append([str(node.target) for node in graph.graph.nodes])
    return graph.forward
compiled = torch.compile(lambda x: torch.sin(x) + 1, backend=backend)
told["right"] = torch.equal(compiled(torch.ones(2)), torch.sin(torch.ones(2)) + 1)
told["graphs"] = len(seen)
@torch.compiler.disable
def aside(x):
    return torch.cos(x)
torch.compile(lambda x: aside(torch.sin(x)), backend=backend)(torch.ones(2))
told["traced"] = sum(seen, [])
torch.compile(step, backend=backend)()
told["kind"] = type(torch._dynamo).__name__
told["kept"] = [f.__name__ for f in vars(torch.optim.Optimizer).values()
                if (inner := getattr(f, "__wrapped__", None)) and vars(inner).get("__dynamo_disable") is inner]
"""
A_PART = """
from torch._dynamo.utils import counters
utils = sys.modules["torch._dynamo.utils"]
told["whole"] = hasattr(torch._dynamo, "optimize") and type(torch._dynamo).__name__ == "module"
told["once"] = torch._dynamo.utils is utils and torch._dynamo.convert_frame.counters is counters
told["origin"] = utils.__spec__.origin
"""


def told(code: str) -> dict[str, Any]:
    """What a process of its own says that trains a step, then runs `code`."""
    argv = [sys.executable, "-P", "-c", f"{TRAINS}{code}print(json.dumps(told))"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_training_goes_without_it_and_compiling_has_all_of_it() -> None:
    """An optimizer steps without the compiler; then a function compiles, and nobody traces what is disabled."""
    answer = told(COMPILES)
    assert not answer["early"]
    assert answer["weight"][0] < 1.0
    assert (answer["right"], answer["graphs"], answer["kind"]) == (True, 1, "module")
    assert any("sin" in name for name in answer["traced"])
    assert not any("cos" in name for name in answer["traced"])
    assert answer["kept"] == [], "what was answered before it was loaded is forgotten"


def test_a_part_brings_the_whole_once() -> None:
    """Whoever imports a part of it first has the same part that the whole has."""
    answer = told(A_PART)
    assert (answer["early"], answer["whole"], answer["once"]) == (False, True, True)
    assert answer["origin"].endswith("utils.py")
