"""JSON as the store keeps it: every float survives, NaN and infinity too.

The text is what Python's `json` writes: NaN, Infinity and -Infinity are tokens, which strict parsers refuse but
which round-trip exactly. (Strings instead of tokens would come back as strings: a payload has no schema to say
which were numbers.) Whatever leaves the service goes through `searchd.views`, where they become null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    item = getattr(value, "item", None)  # a NumPy scalar
    if callable(item):
        return item()
    raise TypeError(f"the store keeps JSON, and {value!r} ({type(value).__name__}) is none: convert it before")


_encoder = json.JSONEncoder(separators=(",", ":"), default=_plain)


def encode(value: Any) -> str:
    """`value` as one line of JSON; mappings and NumPy scalars are taken as what they hold."""
    return _encoder.encode(value)


def decode(text: str) -> Any:
    """What `encode` was given, with lists for tuples. json.JSONDecodeError for text that is none."""
    try:
        return from_json(text)  # twice as fast as `json`, and the same values
    except ValueError:  # what only `json` takes (half a surrogate pair, a very deep nest), or no JSON at all
        return json.loads(text)


class Encoded(str):
    """JSON text that a `Json` column takes as it is."""

    __slots__ = ()


class Json(sa.types.TypeDecorator[Any]):
    """A column of JSON text; None stays NULL."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        if value is None or type(value) is Encoded:
            return value
        return encode(value)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[str | None], Any]:  # noqa: ARG002
        """Called a value, at a third of what the usual way of a decorated type costs: a log has many."""
        return _decoded


def _decoded(text: str | None) -> Any:
    return None if text is None else decode(text)


class Real(sa.types.TypeDecorator[float]):
    """A column of 64-bit floats where NULL is NaN (SQLite has no NaN and stores NULL for one)."""

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:  # noqa: ARG002
        return None if value is None or math.isnan(value) else float(value)

    def process_result_value(self, value: float | None, dialect: sa.Dialect) -> float:  # noqa: ARG002
        return float("nan") if value is None else float(value)


class Words(sa.types.TypeDecorator[str]):
    """Free text from elsewhere (tracebacks, reasons): what no database can hold (NUL, lone surrogates) becomes `?`."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace("\x00", "?").encode("utf-8", "replace").decode("utf-8")
