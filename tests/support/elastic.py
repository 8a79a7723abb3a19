"""Elastic spaces for tests: every kind of block, small; as Hypothesis draws them, and some by name."""

from __future__ import annotations

from hypothesis import strategies as st

from spaces.elastic import ElasticSpace, Unit

BOTTLENECK = ElasticSpace(
    (2, 8, 8), 5, "bottleneck", 4, (Unit(4, 1, (1, 2, 3), (3, 5, 7), (1, 2, 3)), Unit(6, 2, (1, 2), (3, 5), (2, 4))),
    (5, 6, 8), (4, 6, 8, 32),
)  # fmt: skip
RESIDUAL = ElasticSpace(
    (1, 9, 9), 4, "residual", 3, (Unit(3, 1, (1, 2), (1, 3), (1, 2)), Unit(5, 2, (1, 2, 3), (3, 5), (0.5, 1))),
    (7, 9), (2, 8), grid=1,
)  # fmt: skip
VECTOR = ElasticSpace((7,), 3, "residual", 6, (Unit(6, 1, (1, 2, 3), (1,), (0.5, 1, 2)),), (), (8, 32))
EXITS = ElasticSpace(
    (1, 9, 9), 4, "residual", 3, (Unit(3, 1, (1, 2), (1, 3), (1, 2)), Unit(5, 2, (1, 2), (3,), (0.5, 1)),
                                  Unit(6, 1, (1,), (3,), (1, 2))), (6, 9), (4, 32), exits=(0, 1),
)  # fmt: skip
ALL = {"bottleneck": BOTTLENECK, "residual": RESIDUAL, "vector": VECTOR, "exits": EXITS}


def _rising(values: list[int], most: int = 3) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True).map(lambda v: tuple(sorted(v)))


@st.composite
def elastic_spaces(draw: st.DrawFn) -> ElasticSpace:
    """Any small space on images or vectors."""
    image = draw(st.booleans())
    units = tuple(
        Unit(draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(_rising([1, 2, 3, 4])),
             draw(_rising([1, 3, 5])) if image else (1,), draw(_rising([1, 2, 3])))
        for _ in range(draw(st.integers(1, 3)))
    )  # fmt: skip
    block = draw(st.sampled_from(["bottleneck", "residual"])) if image else "residual"
    resolutions = draw(_rising([4, 6, 8])) if image else ()
    shape = (draw(st.integers(1, 3)), 8, 8) if image else (draw(st.integers(1, 5)),)
    exits = draw(st.sets(st.integers(0, len(units) - 2))) if len(units) > 1 else ()
    return ElasticSpace(shape, draw(st.integers(2, 4)), block, draw(st.integers(1, 4)), units, resolutions,
                        draw(_rising([2, 4, 8, 32])), exits=tuple(sorted(exits)))  # fmt: skip
