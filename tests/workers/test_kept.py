"""A checkpoint from memory is the checkpoint from its file; what is held is bounded, and used once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fleet import until
from workers.checkpoints import Checkpoints
from workers.child import ChildOptions
from workers.kept import MOST, Kept
from workers.rehearse import Rehearsal, rehearse
from workers.state import random_states
from workers.trial import Trial
from workers.warm import Warm

torch = pytest.importorskip("torch")

plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=4))
arrays = st.builds(
    lambda kind, shape, order: np.asarray(np.arange(np.prod(shape)).reshape(shape), dtype=kind, order=order),
    st.sampled_from(["<f4", ">f4", "f8", "i2", "u1", "?"]), st.sampled_from([(), (0,), (3,), (2, 3)]),
    st.sampled_from("CF"),
)  # fmt: skip
tensors = st.builds(
    lambda kind, part: torch.arange(12.0).reshape(3, 4).to(kind)[part].requires_grad_(kind.is_floating_point),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
    st.sampled_from([(slice(None), slice(None, None, 2)), (0, 0), (slice(0, 0), 0), slice(None)]),
)


def trees(leaves: Any) -> Any:
    inner = st.recursive(
        leaves,
        lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), c, max_size=3)
        | st.tuples(c, c),
        max_leaves=6,
    )  # fmt: skip
    return st.dictionaries(st.sampled_from(["a", "b", "1"]), inner, max_size=3)


def same(a: Any, b: Any) -> bool:
    """Equal in type, value, dtype, shape, layout and bits."""
    if type(a) is not type(b):
        return False
    match a:
        case dict():
            return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
        case list() | tuple():
            return len(a) == len(b) and all(map(same, a, b))
        case torch.Tensor():
            kinds = (a.dtype, a.shape, a.stride(), a.device, a.requires_grad)
            return kinds == (b.dtype, b.shape, b.stride(), b.device, b.requires_grad) and torch.equal(a, b)
        case np.ndarray():
            flags = a.flags.writeable, a.flags.c_contiguous
            return (a.dtype, a.shape, a.tobytes(), *flags) == (
                b.dtype, b.shape, b.tobytes(), b.flags.writeable, b.flags.c_contiguous
            )
    return repr(a) == repr(b)


@settings(max_examples=60, deadline=None)
@given(tree=st.one_of(trees(plain | arrays), trees(plain | arrays | tensors)))
def test_from_memory_as_from_the_file(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    """Whatever was saved: what is taken from memory equals what is read from the file, bit by bit and type by type;
    and both stay what they were when the saved arrays change afterwards."""
    kept = Kept(1 << 20)
    checkpoints = Checkpoints(tmp_path_factory.mktemp("art"), 0, 1, kept=kept)
    reference = checkpoints.write(3, tree, keep=True)
    read = checkpoints.read(reference)
    _spoil(tree)
    found = checkpoints.usable(reference)
    assert found is not None
    assert found[0] == reference
    assert same(found[1], read)
    assert kept.names == ()


def _spoil(value: Any) -> None:
    match value:
        case dict():
            list(map(_spoil, value.values()))
        case list() | tuple():
            list(map(_spoil, value))
        case torch.Tensor():
            value.detach().zero_()
        case np.ndarray():
            value[...] = 1


def test_it_is_used_once_and_then_read(tmp_path: Path) -> None:
    """Taken from memory even when the file is gone; the second time the file is needed, and a damaged one noticed."""
    kept = Kept(1 << 20)
    checkpoints = Checkpoints(tmp_path, 0, 1, kept=kept)
    early = checkpoints.write(1, {"objects": {"n": 1}, "random": {}}, keep=True)
    late = checkpoints.write(2, {"objects": {"n": np.arange(3)}, "random": {}}, keep=True)
    assert kept.names == (early.sha256, late.sha256)
    (tmp_path / late.path).unlink()
    first, second = checkpoints.usable(late), checkpoints.usable(late)
    assert first is not None
    assert second is not None
    assert first[0] == late
    assert second[0] == early
    assert kept.names == (early.sha256,), "what is read from a file as the next best is not taken from memory"


def test_what_is_held_is_bounded() -> None:
    """Never more than the room and than MOST, the oldest go first; one that is larger than the room is not held."""
    kept = Kept(100)
    for name, size in (("a", 40), ("b", 40), ("c", 40), ("d", 101), ("b", 50)):
        kept.put(name, size, "{}", {})
    assert kept.names == ("c", "b")
    many = Kept(10_000)
    for n in range(MOST + 3):
        many.put(f"{n}", 1, "{}", {})
    assert many.names == tuple(f"{n}" for n in range(3, MOST + 3))
    none = Kept()
    none.put("a", 1, "{}", {})
    assert none.names == ()


def train(trial: Trial) -> None:
    """Everything that has state; and after the loop it spoils its objects, as a swap of averaged weights would."""
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    own = torch.Generator().manual_seed(1)
    numbers = np.random.default_rng(2)
    trial.load(model, optimizer, schedule, own, numbers)
    x = torch.linspace(-1, 1, 64).reshape(16, 4)
    for _ in trial.steps():
        noise = torch.randn(16, 1, generator=own) + float(numbers.normal())
        loss = ((model(x[torch.randperm(16)]) - noise) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        trial.report(loss=loss, norm=sum(p.norm() for p in model.parameters()))
        trial.save(model, optimizer, schedule, own, numbers)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()


def chain(folder: Path, ends: tuple[int, ...], kept: Kept | None, function: Any = train) -> list[Rehearsal]:
    """Jobs of one trial, each from the checkpoint of the one before."""
    runs: list[Rehearsal] = []
    for end in ends:
        before = runs[-1] if runs else None
        runs.append(rehearse(function, {}, until=end, folder=folder, seed=3, resume=before, kept=kept))
    return runs


def test_training_that_resumes_from_memory_is_the_same(tmp_path: Path) -> None:
    """Reports and checkpoint files (by hash) of a trial that goes on from memory, twice, are those of one that goes on
    from its files, whatever the function does to its objects once its last step is saved."""
    kept = Kept(1 << 20)
    cold = chain(tmp_path / "a", (2, 4, 6), None)
    warm = chain(tmp_path / "b", (2, 4), kept)
    for file in (tmp_path / "b").rglob("ckpt-*"):
        file.unlink()
    warm.append(rehearse(train, {}, until=6, folder=tmp_path / "b", seed=3, resume=warm[-1], kept=kept))
    assert [r.metrics for run in warm for r in run.reports] == [r.metrics for run in cold for r in run.reports]
    assert [run.checkpoint and run.checkpoint.sha256 for run in warm] == [
        run.checkpoint and run.checkpoint.sha256 for run in cold
    ]
    assert random_states()["python"] is not None


def test_only_the_end_of_a_job_is_held(tmp_path: Path) -> None:
    """A checkpoint that guards against crashes, or that a stop asked for, is on the disk only."""
    kept = Kept(1 << 20)

    def slow(trial: Trial) -> None:
        for step in trial.steps():
            trial.report(error=1.0)
            trial.save(step=step)
            if step == 1:
                trial._wrote_at -= 60.0

    stopped = rehearse(slow, {}, until=5, folder=tmp_path, stop_at=3, kept=kept)
    assert (stopped.outcome, stopped.checkpoint and stopped.checkpoint.step) == ("stopped", 3)
    assert kept.names == ()
    (ended,) = chain(tmp_path, (5,), kept, slow)
    assert ended.checkpoint is not None
    assert kept.names == (ended.checkpoint.sha256,)


def test_a_fresh_child_holds_nothing() -> None:
    """What a child said that it holds is forgotten with it."""
    warm = Warm(ChildOptions(), {})
    try:
        warm.ensure()
        warm.holds = ("ab" * 32,)
        warm.ensure()
        assert warm.holds
        assert warm.pid is not None
        os.kill(warm.pid, signal.SIGKILL)
        until(lambda: warm.pid is None, "the child gone")
        warm.ensure()
        assert warm.pid is not None
        assert warm.holds == ()
    finally:
        warm.end()


def test_only_its_own_leavings_are_ended() -> None:
    """Ending a child leaves alone what this process had started before."""
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        warm = Warm(ChildOptions(), {})
        warm.ensure()
        warm.end()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
