"""The chooser: Triton where it can, torch elsewhere, a reason always, and an error where a person asked in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from kernels import _choose
from kernels._choose import SWITCH, Op, choose, explain, register
from kernels._kernel import packages
from tests.support.kernels import close, poisoned, strided

X = torch.ones(2)
OLD, NEW = (7, 5), (9, 0)


@pytest.fixture(autouse=True)
def ops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two operators of the test's own, and nothing in the environment."""
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(_choose, "OPS", {})
    register(Op("fast", (torch.float32, torch.float16)))
    register(Op("plain"))
    yield
    _choose._decide.cache_clear()


def gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], triton: bool = True) -> None:
    """Has torch and the chooser say that there is a GPU: no CI machine has one."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=None: "A GPU")
    monkeypatch.setattr(_choose, "triton_there", lambda: triton)
    monkeypatch.setenv("CC", "cc")


def test_cpu_tensors_run_in_torch() -> None:
    """On a CPU, torch; the reason says so."""
    assert choose("fast", X).provider == "torch"
    assert "on cpu" in choose("fast", X).why
    assert explain("fast", "cpu") == choose("fast", X, None) == choose("plain", X)
    assert "no Triton kernel" in explain("plain", "cuda:0").why


@pytest.mark.parametrize(
    ("capability", "triton", "dtype", "provider", "why"),
    [
        (NEW, True, torch.float32, "triton", "A GPU, capability 9.0"),
        ((8, 0), True, torch.float16, "triton", "8.0"),
        (OLD, True, torch.float32, "torch", "7.5, below 8.0"),
        (NEW, False, torch.float32, "torch", "not installed"),
        (NEW, True, torch.float64, "torch", "no torch.float64"),
    ],
)
def test_gpu(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], triton: bool, dtype: torch.dtype, provider: str,
    why: str,
) -> None:  # fmt: skip
    """On a GPU, Triton, unless it is too old, triton is not there, or the kernels take other dtypes."""
    gpu(monkeypatch, capability, triton)
    choice = explain("fast", "cuda:0", dtype)
    assert (choice.provider, why in choice.why) == (provider, True), choice


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton builds its launcher with a C compiler: without one it is no choice."""
    gpu(monkeypatch, NEW)
    monkeypatch.delenv("CC")
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert "C compiler" in explain("fast", "cuda:0").why


def test_two_devices() -> None:
    """Tensors on two devices never reach a kernel."""
    assert choose("fast", X, X.to("meta")).provider == "torch"


@pytest.mark.parametrize("asked", ["torch", "reference"])
def test_the_switch_decides(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """SEARCHD_KERNELS chooses on any device, and is the reason; unset again, it has no effect left."""
    gpu(monkeypatch, NEW)
    assert explain("fast", "cuda:0").provider == "triton"
    monkeypatch.setenv(SWITCH, asked)
    assert explain("fast", "cuda:0").provider == asked
    assert asked in explain("fast", "cuda:0").why
    monkeypatch.delenv(SWITCH)
    assert explain("fast", "cuda:0").provider == "triton"


def test_asked_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for and cannot be is an error with the reason, as is a word that names nothing."""
    monkeypatch.setenv(SWITCH, "triton")
    with pytest.raises(RuntimeError, match=r"fast, but the tensors are on cpu: unset SEARCHD_KERNELS"):
        choose("fast", X)
    monkeypatch.setenv(SWITCH, "cuda")
    with pytest.raises(RuntimeError, match="SEARCHD_KERNELS=cuda names no implementation: use triton"):
        choose("fast", X)
    with pytest.raises(RuntimeError, match="no operator 'slow' among fast, plain"):
        choose("slow", X)


def python(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, in the checkout."""
    return subprocess.run(
        [sys.executable, *arguments], env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_names_every_operator() -> None:
    """`python -m kernels` prints a line for each operator, of folders that have several too; asked in vain it says why
    and ends with 2."""
    ran = python("-m", "kernels")
    assert ran.returncode == 0, ran.stderr
    named = sorted([*packages(), "lowbit_linear_int8", "plane_product"])
    assert [line.split()[0] for line in ran.stdout.splitlines()] == named


def test_operators_need_no_triton() -> None:
    """Every operator imports where triton is not installed, and where it is, none imports it before it is used."""
    every = "; ".join(f"import kernels.{p}" for p in packages())
    without = python("-c", f"import sys; sys.modules['triton'] = None; {every}")
    assert without.returncode == 0, without.stderr
    mine = "[m for m in sys.modules if m.startswith('kernels.') and '.triton' in m]"
    unused = python("-c", f"import sys; {every}; sys.exit(str({mine}) if {mine} else 0)")
    assert unused.returncode == 0, unused.stderr


def test_poison_and_close() -> None:
    """What the harness itself promises: unwritten memory is NaN, a wrong value, shape or NaN is seen."""
    with poisoned():
        assert torch.empty(3).isnan().all()
        assert torch.empty_like(X).isnan().all()
        assert (torch.empty(3, dtype=torch.int32) == torch.iinfo(torch.int32).max).all()
    assert not torch.are_deterministic_algorithms_enabled()
    one = torch.ones(2, dtype=torch.float64)
    close(X * (1 + 2**-23), one, roundings=2)
    for wrong in (X * (1 + 2**-22), X * float("nan"), X[:1]):
        with pytest.raises(AssertionError):
            close(wrong, one, roundings=2)
    x = torch.randn(4, 3, 2)
    assert torch.equal(strided(x), x)
    assert not strided(x).is_contiguous()
