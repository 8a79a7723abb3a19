"""JSON as the store keeps it: what is read is what Python's own parser reads, value by value."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from searchd.store.codec import decode, encode

TEXT = st.text(st.characters(codec=None))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


def shape(value: Any) -> Any:
    """With the type of every number, and NaN as something that equals itself."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, float):
        return ("float", "nan" if math.isnan(value) else value.hex())
    return (type(value).__name__, value)


@given(VALUES)
@example("\ud800")
@example({"a": [math.nan, math.inf, -math.inf, -0.0, 5e-324, 2**70, -(2**63), 1e308]})
def test_what_was_written_is_read(value: Any) -> None:
    """Every value comes back as it was, to the last bit and in its order: non-finite numbers, large ones, half a
    surrogate pair."""
    text = encode(value)
    assert shape(decode(text)) == shape(value) == shape(json.loads(text))


def test_a_deep_nest() -> None:
    """As deep as Python's parser goes."""
    text = "[" * 300 + "]" * 300
    assert decode(text) == json.loads(text)


@pytest.mark.parametrize("text", ["", "{", '{"a":1} {"b":2}', "nan", "[1,]", '{"a":1}x'])
def test_what_is_none_is_an_error(text: str) -> None:
    """Text that is no JSON, or more than one value, is refused."""
    with pytest.raises(ValueError):
        decode(text)
