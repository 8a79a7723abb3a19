"""The table of kernels: rows for every operator and provider that is here, a gate that a wrong one does not pass."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bench.kernels import linears, rows, run, steps
from bench.kernels.rows import Case, Clock, Provider
from kernels.multi_tensor import eager

CPU = torch.device("cpu")
ONCE = Clock(rounds=1, seconds=0.0, least=1, warm=0)
PROVIDERS = {
    "fake_quant": {"torch eager", "torch native"}, "lowbit_linear": {"torch bf16", "torch float32", "torchao"},
    "lowbit_linear_int8": {"torch bf16", "torch float32", "torch eager", "ours, floats"},
    "int8_linear": {"torch bf16", "torch eager", "torchao"}, "exit_gate": {"torch eager"},
    "int8_conv2d": {"torch bf16", "torch float32"},
    "blockwise_adam": {"torch foreach", "torchao"}, "blockwise_lion": {"torch foreach"},
    "multi_tensor": {"torch foreach", "torch fused"}, "newton_schulz": {"torch eager", "torch Muon"},
}  # fmt: skip
UNCOMPILED = ("blockwise_adam", "blockwise_lion", "int8_conv2d")
"""There is nothing of torch's to compile, or a peer compiles it."""
STEPS = ("blockwise_adam", "blockwise_lion", "multi_tensor")


def tiny(op: str) -> list[Case]:
    """Without what has to be compiled, which takes seconds each."""
    found = list(run.cases(CPU, "tiny", (op,)))
    assert all(any(p.name == "torch.compile" for p in c.providers) for c in found) or op in UNCOMPILED
    return [replace(c, providers=[p for p in c.providers if p.name != "torch.compile"]) for c in found]


@pytest.mark.parametrize("op", run.OPS)
def test_rows_of_every_operator(op: str) -> None:
    """Ours, its peers and the copy, each with its time; the copy's share of itself is 1, and so is what all are
    compared with; the widths of `lowbit_linear` are 1 to 8, at batch 1 and 16."""
    cases = tiny(op)
    found = [row for case in cases for row in rows.rows(case, CPU, ONCE)]
    ok = [row for row in found if row.status == "ok"]
    assert {"ours", "copy", *PROVIDERS[op]} <= {row.provider for row in ok}
    assert {row.op for row in found} == {op}
    assert [row.provider for row in found if row.status == "failed" and row.provider == "ours"] == []
    assert all(row.ms and row.ms > 0 and row.bytes and row.gb_s for row in ok)
    assert {row.of_copy for row in ok if row.provider == "copy"} == {1.0}
    assert {row.faster for row in ok if row.provider == row.against} == {1.0}
    assert all("cpu" in row.note.lower() for row in ok if row.provider == "ours")
    if op.startswith("lowbit_linear"):
        assert sorted({row.bits for row in found}) == [str(bits) for bits in range(1, 9)]
        assert {row.shape.partition("x")[0] for row in found} == {"1", "16"}


@pytest.mark.parametrize("op", [op for op in run.OPS if op not in STEPS])
def test_a_wrong_provider_is_caught(op: str) -> None:
    """An answer that is a tenth too large gives a row that says so, and no time; the others are timed."""
    for case in tiny(op)[::5]:  # of the 16 of `lowbit_linear` and of its integers: 1, 6, 3 and 8 bits
        right = case.providers[0]
        planted = replace(right, name="planted", ready=lambda right=right: _larger(right.ready()))
        found = {row.provider: row for row in rows.rows(replace(case, providers=[right, planted]), CPU, ONCE)}
        assert (found["planted"].status, found["planted"].ms) == ("failed", None)
        assert found["planted"].note
        assert found["ours"].status == "ok"


def _larger(call: Callable[[], Any]) -> Callable[[], Any]:
    def wrong() -> Any:
        found = call()
        return (1.1 * found[0], *found[1:]) if isinstance(found, tuple) else 1.1 * found

    return wrong


@pytest.mark.parametrize("op", STEPS)
def test_a_wrong_step_is_caught(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that move twice as far, in each kernel of steps."""
    adam, lion = eager.adam_, eager.lion_
    for module in ("blockwise_adam", "multi_tensor.eager"):
        monkeypatch.setattr(f"kernels.{module}.adam_", lambda *a: adam(*a[:5], 2 * a[5], *a[6:]))
    monkeypatch.setattr("kernels.blockwise_lion.lion_", lambda *a: lion(*a[:3], 2 * a[3], *a[4:]))
    for case in tiny(op):
        (found,) = (row for row in rows.rows(case, CPU, ONCE) if row.provider == "ours")
        assert (found.status, found.ms) == ("failed", None)
        assert "the first step over" in found.note


def test_a_provider_that_raises_is_a_row() -> None:
    """Another project's error is told, and the rest is measured; a table without the one to compare with has no last
    column."""

    def broken() -> Callable[[], Any]:
        raise ImportError("no such thing\nand more")

    fine = Provider("fine", lambda: lambda: 1, lambda _: None)
    case = Case("op", "1", "float32", "", 64, [fine, Provider("broken", broken, lambda _: None)], "none")
    found = {row.provider: row for row in rows.rows(case, CPU, ONCE)}
    assert (found["broken"].status, found["broken"].note) == ("failed", "ImportError: no such thing")
    assert (found["fine"].status, found["fine"].faster) == ("ok", None)


def test_the_command_writes_csv(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One operator on this CPU; exit code 1 when ours is wrong."""
    monkeypatch.setattr("torch.compile", lambda made, **_: made)
    assert run.main(["--device", "cpu", "--size", "tiny", "--only", "exit_gate"]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["provider"] for row in found} == {"ours", "torch eager", "torch.compile", "copy"}
    assert {row["op"] for row in found} == {"exit_gate"}
    monkeypatch.setattr("kernels.exit_gate.reference.predicted", lambda z: z.argmin(1))
    assert run.main(["--device", "cpu", "--size", "tiny", "--only", "exit_gate"]) == 1


def test_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A message instead of rows."""
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here, and this is about one that is not there")
    with pytest.raises(SystemExit):
        run.main(["--device", "cuda"])
    assert "torch sees no GPU here" in capsys.readouterr().err


def test_bytes_of_steps_by_hand() -> None:
    """128 × 64 weights: 12 bytes each, and of states twice: 8 bits (2 bytes, 2 · 32 scales), 4 bits (1 byte, 64 and 192
    scales), Lion's 8; torch's two moments 16. A small one keeps 32 bits."""
    p = [torch.zeros(128, 64)]
    n = 8192
    assert steps.moved(p, "torch") == steps.moved(p, "wide") == 28 * n
    assert steps.moved([p[0].bfloat16()], "torch") == 14 * n
    assert steps.moved([p[0].bfloat16()], "wide") == 22 * n
    assert steps.moved(p, "blockwise_adam8") == 12 * n + 2 * (2 * n + 4 * 64)
    assert steps.moved(p, "blockwise_adam4") == 12 * n + 2 * (n + 4 * (64 + 192))
    assert steps.moved(p, "blockwise_lion8") == 12 * n + 2 * (n + 4 * 32)
    assert steps.moved([torch.zeros(100)], "blockwise_lion8") == 20 * 100


def test_bytes_of_planes_by_hand() -> None:
    """33 inputs in 5 bytes a plane, 9 outputs, 3 planes, 9 scales, one sample in float32 in and out."""
    case = linears.lowbit(linears.Drawn(CPU, (9, 33), 1), 3)
    assert case.bytes == 3 * 9 * 5 + 4 * 9 + 4 * (33 + 9)


def test_spread_and_turns() -> None:
    """The middle half over the median; every run gets as many turns."""
    assert rows.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1.0)  # quartiles 1.5 and 4.5
    assert rows.spread([7.0]) == 0.0
    calls: list[int] = []
    found = rows.timed([lambda: calls.append(0), lambda: calls.append(1)], CPU, Clock(3, 0.0, 2, 1))
    assert [len(times) for times in found] == [6, 6]
    assert calls[:4] == [0, 1, 0, 0]  # one each to warm up, then turns of two
    assert calls[4:8] == [1, 1, 1, 1]  # the next turn begins with the other
