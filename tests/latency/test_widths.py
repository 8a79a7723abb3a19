"""What few bits buy on a device: by the same shapes in float32, told in the terminal and to programs."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchd.cli.device import tell
from searchd.devices.shown import shown
from searchd.latency.widths import WORTH, widths
from spaces.study import Study
from tests.support.devices import NET, device_row

SHAPES = [f"conv-{n}x{2 * n}x3x1x1x8x8" for n in range(1, 41)]


def rows(gains: dict[str, tuple[float, float]], bits: str = "8") -> dict[str, list[float]]:
    """A table of shapes with (milliseconds in float32, how many times faster with few bits)."""
    found: dict[str, list[float]] = {}
    for shape, (ms, gain) in gains.items():
        found[f"{shape}-32"], found[f"{shape}-{bits}"] = [ms, 0.0], [ms / gain, 0.0]
    return found


def test_it_pays_from_some_time_on() -> None:
    """Slower below 20 µs in float32, faster from there: how many, how much, and from where."""
    (found,) = widths(rows({shape: (0.001 * n, 0.5 if n < 20 else 2.0) for n, shape in enumerate(SHAPES, 1)}))
    assert (found.op, found.bits, found.shapes, found.faster) == ("conv", 8.0, 40, 21)
    assert (found.least, found.middle, found.most) == pytest.approx((0.5, 2.0, 2.0))
    assert found.pays_from == pytest.approx(0.020)


def test_where_time_does_not_tell() -> None:
    """Every other shape is faster, or all are, or none is: no time is named."""
    for pays, faster in ((lambda n: n % 2, 20), (lambda _: True, 40), (lambda _: False, 0)):
        (found,) = widths(rows({s: (0.001 * n, 2.0 if pays(n) else 0.9) for n, s in enumerate(SHAPES, 1)}))
        assert found.faster == faster
        assert found.pays_from is None


def test_what_tells_nothing_is_left_out() -> None:
    """No twin in float32, or no time beyond an empty model's."""
    table = rows({SHAPES[0]: (0.01, 2.0)})
    alone = {f"{SHAPES[1]}-8": 0.01, f"{SHAPES[2]}-32": 0.01, "add-4x4x1x1x1x4x4-32": 0.1}
    nothing = {f"{SHAPES[3]}-8": 0.0, f"{SHAPES[3]}-32": 1.0, f"{SHAPES[4]}-8": 1.0, f"{SHAPES[4]}-32": -0.001}
    table |= {key: [ms, 0.0] for key, ms in {**alone, **nothing}.items()}
    (found,) = widths(table)
    assert found.shapes == 1
    assert widths({}) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-4, 10), st.floats(0.1, 10)), min_size=1, max_size=40), st.floats(0.5, 100))
def test_laws(given_: list[tuple[float, float]], scale: float) -> None:
    """Counts and ranges fit together, and a slower clock changes nothing but the time from which it pays."""
    table = rows(dict(zip(SHAPES, given_, strict=False)))
    (found,) = widths(table)
    assert found.shapes == len(given_)
    assert found.least <= found.middle <= found.most
    assert (found.faster == 0) == (found.most < WORTH)
    (slower,) = widths({key: [ms * scale, 0.0] for key, (ms, _) in table.items()})
    if all(abs(gain - WORTH) > 1e-6 for _, gain in given_):
        assert slower.faster == found.faster
    if found.pays_from is not None and slower.pays_from is not None:
        assert slower.pays_from == pytest.approx(found.pays_from * scale)


def test_the_terminal_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each op and width; one that buys no time says that bytes are all."""
    row = device_row(Study.parse(NET))
    convs = rows({shape: (0.001 * n, 0.5 if n < 20 else 2.0) for n, shape in enumerate(SHAPES, 1)})
    linear = rows({f"linear-{n}x10x1x1x1x1x1": (0.002, 0.4) for n in range(1, 6)})
    profile = {**(row.profile or {}), "rows": {**convs, **linear}}
    said = shown(dataclasses.replace(row, profile=profile))
    assert [w["op"] for w in said["profile"]["widths"]] == ["conv", "linear"]
    tell(said)
    out = " ".join(capsys.readouterr().out.split())
    assert "worth it in 21 of 40 shapes: those that take 20 µs and more in float32" in out
    assert "worth it in 0 of 5 shapes: bytes are all that they buy there" in out
    tell(shown(row))
    assert "worth it" not in capsys.readouterr().out
