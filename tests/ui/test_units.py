"""Numbers, units and labels as a person reads them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ui.units import Metric, duration, metric, number, size, value_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (3, "3"), (1204, "1,204"), (2.0, "2"), (0.04217, "0.0422"), (0.00003, "3.0e-05"), (12.34, "12.3"),
        (1234.5, "1,234"), (4_100_000, "4.1M"), (999_700, "1000k"), (-2.5, "-2.5"), (math.nan, "–"), (None, "–"),
        (math.inf, "∞"), ("sgd", "sgd"), (np.int64(7), "7"), (np.float64(0.5), "0.5"),
    ],
)  # fmt: skip
def test_a_number_has_three_significant_digits(value: object, text: str) -> None:
    """A number is written with three significant digits; what is none is a dash or itself."""
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(940, "940 B"), (12_345, "12.3 kB"), (999_700, "1000 kB"), (1_200_000, "1.2 MB"), (None, "–")]
)
def test_bytes_have_decimal_units(value: object, text: str) -> None:
    """A size is in powers of a thousand."""
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.44, "0.4 s"), (42, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (math.nan, "–")]
)
def test_a_duration_is_in_words(value: float, text: str) -> None:
    """Seconds become minutes and hours when there are many."""
    assert duration(value) == text


def test_the_unit_comes_from_the_name() -> None:
    """A suffix names the unit, and leaves the label."""
    assert metric("latency_p95_ms") == Metric("latency_p95_ms", "latency p95", "ms")
    assert metric("energy_j").title == "energy (J)"
    assert metric("bytes").text(12_345) == "12.3 kB"
    assert metric("loss").title == "loss"


def test_an_error_above_one_and_a_half_is_a_percentage() -> None:
    """Errors and accuracies are fractions or percentages by their values; nothing else becomes a percentage."""
    assert metric("val_error", [0.4, None]).unit == ""
    assert metric("val_error", [0.4, 12.0]).text(2.1) == "2.1 %"
    assert metric("val_loss", [12.0]).unit == ""


def test_microseconds_for_small_latencies() -> None:
    """A latency below a tenth of a millisecond is said in microseconds."""
    assert metric("latency_ms").text(0.0213) == "21.3 µs"
    assert metric("latency_ms").text(0.2) == "0.2 ms"


def test_values_of_a_config() -> None:
    """Lists, empty lists and switches are words."""
    assert [value_text(v) for v in ([4, 8], [], True, 0.1, "sgd")] == ["[4, 8]", "none", "yes", "0.1", "sgd"]
