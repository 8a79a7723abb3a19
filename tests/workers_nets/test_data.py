"""Data: one stratified split for everybody, normalised by its training part; errors that say what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.data import NAMED
from workers import bundled
from workers.data import BUNDLED, DataError, load, split

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_what_spaces_says(name: str) -> None:
    """Shape and classes agree with `spaces.data`, which describes networks without reading the data."""
    data = load({"data": name})
    assert (data.shape, data.classes) == (NAMED[name].shape, NAMED[name].classes)
    assert set(BUNDLED) == set(NAMED)


@pytest.mark.parametrize("name", sorted(bundled.FILES))
def test_files_give_what_scikit_learn_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read from scikit-learn's files, and by its loader where they are not found: the same to the bit."""
    x, y = bundled.load(name)
    monkeypatch.setattr(bundled, "_file", lambda _: None)
    wanted, classes = bundled.load(name)
    assert (x.dtype, x.shape) == (wanted.dtype, wanted.shape)
    assert np.array_equal(x, wanted)
    assert np.array_equal(y, classes)
    assert sorted([*bundled.FILES, "mnist1d"]) == sorted(BUNDLED)


def test_bundled_sets_need_no_import_of_scikit_learn() -> None:
    """A worker's first job does not wait for SciPy's statistics and pandas, which scikit-learn imports."""
    code = "import sys; from workers.data import load; load({}); load({'data': 'wine'})"
    code += "; print([m for m in ('sklearn', 'scipy', 'pandas') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_digits_split() -> None:
    """1,797 digits: 60 / 20 / 20, images in [0, 1] by the training part, every class in every part."""
    data = load({})
    sizes = [len(p) for p in (data.train, data.val, data.test)]
    assert sum(sizes) == 1797
    assert sizes[1] == sizes[2]
    assert 0.59 < sizes[0] / 1797 < 0.61
    assert (data.train.x.min().item(), data.train.x.max().item()) == (0.0, 1.0)
    for part in (data.train, data.val, data.test):
        assert sorted(set(part.y.tolist())) == list(range(10))


def test_vectors_are_standardised_on_the_training_part() -> None:
    """Mean 0 and deviation 1 by feature in training; the others only nearly, or they would have been looked at."""
    data = load({"data": "wine"})
    assert np.abs(data.train.x.numpy().mean(0)).max() < 1e-5
    assert np.abs(data.train.x.numpy().std(0) - 1).max() < 1e-4
    assert np.abs(data.val.x.numpy().mean(0)).max() > 1e-3


@given(sizes=st.lists(st.integers(5, 40), min_size=2, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_split_law(sizes: list[int], seed: int) -> None:
    """Every sample is in exactly one part, each class in all three, and the same labels split the same way."""
    codes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = split(codes, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(codes)))
    for part in parts:
        assert set(codes[part]) == set(range(len(sizes)))
    again = split(codes, seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_npz_images_and_labels_of_any_kind(tmp_path: Path) -> None:
    """[n, H, W] becomes [n, 1, H, W]; labels become 0 … K − 1 in rising order."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=rng.integers(0, 256, (40, 6, 5), dtype=np.uint8), y=np.repeat([7, 3], 20))
    data = load({"data": str(tmp_path / "d.npz"), "shape": [1, 6, 5], "classes": 2})
    assert data.shape == (1, 6, 5)
    assert data.labels == ("3", "7")
    raw = data.train.x.numpy() / data.scale + data.shift
    assert np.allclose(raw, np.round(raw), atol=1e-3)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """The cache goes by the file's time, so a new file under an old name is seen."""
    path = tmp_path / "d.npz"
    np.savez(path, x=np.random.default_rng(0).random((20, 3)), y=np.repeat([0, 1], 10))
    assert load({"data": str(path)}).shape == (3,)
    np.savez(path, x=np.random.default_rng(0).random((20, 4)), y=np.repeat([0, 1], 10))
    os.utime(path, ns=(1, 1))
    assert load({"data": str(path)}).shape == (4,)


BAD = {
    "missing y": ({"x": np.zeros((9, 2))}, "arrays named x and y"),
    "rank 1": ({"x": np.zeros(9), "y": np.zeros(9)}, r"\[n, features\]"),
    "one class": ({"x": np.zeros((9, 2)), "y": np.zeros(9)}, "two classes"),
    "rare class": ({"x": np.zeros((9, 2)), "y": np.array([0] * 6 + [1] * 3)}, "3 samples"),
    "not finite": ({"x": np.full((12, 2), np.nan), "y": np.repeat([0, 1], 6)}, "24 values of x are not finite"),
    "pickled": ({"x": np.array([object()] * 12), "y": np.repeat([0, 1], 6)}, "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case: str, tmp_path: Path) -> None:
    """A file that cannot be learned from is refused with value, rule and remedy; objects are never unpickled."""
    arrays, text = BAD[case]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=text):
        load({"data": str(tmp_path / "bad.npz")})


def test_missing_or_changed_file(tmp_path: Path) -> None:
    """No such file, and a file that is not what the study was submitted with, are told apart."""
    with pytest.raises(DataError, match=r"neither a bundled set .*digits"):
        load({"data": str(tmp_path / "none.npz")})
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((20, 3)), y=np.repeat([0, 1], 10))
    with pytest.raises(DataError, match=r"submitted with \[4\] and 2"):
        load({"data": str(tmp_path / "d.npz"), "shape": [4], "classes": 2})


def test_mnist1d_is_what_it_was_and_no_easier_than_published() -> None:
    """The same signals for the same seed, as many of each digit, and a linear model gets about a third right."""
    from sklearn.linear_model import LogisticRegression

    from workers.mnist1d import generate

    x, y = generate(300)
    again, _ = generate(300)
    other, _ = generate(300, seed=1)
    assert np.array_equal(x, again)
    assert not np.array_equal(x, other)
    assert np.bincount(y).tolist() == [30] * 10
    data = load({"data": "mnist1d"})
    assert (data.shape, data.classes) == (NAMED["mnist1d"].shape, NAMED["mnist1d"].classes)
    model = LogisticRegression(max_iter=100).fit(data.train.x.numpy(), data.train.y.numpy())
    assert 0.25 < model.score(data.test.x.numpy(), data.test.y.numpy()) < 0.42
