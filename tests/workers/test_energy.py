"""Meters: what counters say, what they do not say, and what is made of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from workers.energy import NullMeter, RaplMeter, ReplayMeter, Spent, meter
from workers.measure import sample_energy_mj


class Counted:
    """A measurer whose runs are counted: 50 a call."""

    def times(self, run: object, seconds: float) -> np.ndarray:  # noqa: ARG002
        return np.ones(50)


def zone(root: Path, name: str, uj: int, most: int = 1000) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "energy_uj").write_text(str(uj))
    (folder / "max_energy_range_uj").write_text(str(most))
    return folder


def test_what_was_spent_is_the_difference() -> None:
    """Joules since the last reading; a reading that fails makes its own and the next difference unknown, not zero."""
    spent = Spent(ReplayMeter([10.0, 12.5, 13.0, None, 20.0, 21.0]))
    assert [spent.joules() for _ in range(5)] == [2.5, 0.5, None, None, 1.0]


def test_energy_of_a_sample() -> None:
    """Millijoules a run: the counter's difference over the runs in between; without a counter there is none."""
    run: object = None
    assert sample_energy_mj(Counted(), run, ReplayMeter([1.0, 1.0, 1.5])) == pytest.approx(10.0)  # type: ignore[arg-type]
    assert sample_energy_mj(Counted(), run, NullMeter()) is None  # type: ignore[arg-type]


def test_rapl_adds_its_packages_and_unrolls_them(tmp_path: Path) -> None:
    """Packages count, their parts do not; a counter that begins again from 0 has gone round once."""
    first, second = zone(tmp_path, "intel-rapl:0", 900), zone(tmp_path, "intel-rapl:1", 100)
    zone(tmp_path, "intel-rapl:0:0", 12345)
    found = RaplMeter(tmp_path)
    assert found.joules() == pytest.approx(1000e-6)
    (first / "energy_uj").write_text("50")
    (second / "energy_uj").write_text("150")
    assert found.joules() == pytest.approx((1050 + 150) * 1e-6)
    (first / "energy_uj").unlink()
    assert found.joules() is None


def test_no_zones_no_meter(tmp_path: Path) -> None:
    """A folder without counters is no RAPL."""
    with pytest.raises(OSError, match="no RAPL"):
        RaplMeter(tmp_path)


def test_a_meter_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever this runs a meter answers a number that does not fall, or nothing; nothing of a GPU that nobody has."""
    found = meter()
    first, second = found.joules(), found.joules()
    assert (first is None and second is None) or (first is not None and second is not None and second >= first)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "99")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "99"
    assert meter().joules() is None
