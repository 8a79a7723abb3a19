"""Rows of one table as a transaction sees them: each read once, and written once, with its like, at the flush.

A batch of 500 messages changes the same few jobs and trials again and again; a statement for each change cost more than
everything else that a report needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from searchd.errors import NotFound

R = TypeVar("R")
Key = tuple[Any, ...]


def _insert(table: sa.Table, dialect: str) -> Any:
    """The dialect's own INSERT, which knows conflicts; of two dialects a process needs one."""
    match dialect:
        case "sqlite":
            from sqlalchemy.dialects.sqlite import insert
        case "postgresql":
            from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
        case other:
            raise ValueError(f"no statements for the dialect {other!r}: a bug")
    return insert(table)


@lru_cache(maxsize=64)
def insert_new(table: sa.Table, dialect: str) -> Any:
    """INSERT that leaves an existing row as it is; its `rowcount` is 0 then."""
    return _insert(table, dialect).on_conflict_do_nothing().execution_options(preserve_rowcount=True)


@lru_cache(maxsize=64)
def upsert(table: sa.Table, dialect: str) -> Any:
    """INSERT that replaces every column of an existing row."""
    statement = _insert(table, dialect)
    keys = list(table.primary_key.columns)
    rest = {c.name: statement.excluded[c.name] for c in table.columns if not c.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=rest)


@lru_cache(maxsize=256)
def update(table: sa.Table, changed: tuple[str, ...]) -> Any:
    """UPDATE of the columns `changed` of one row; its key comes in as `key_<column>`. ValueError: no such column."""
    unknown = [name for name in changed if name not in table.c or table.c[name].primary_key]
    if unknown or not changed:
        known = ", ".join(c.name for c in table.columns if not c.primary_key)
        raise ValueError(f"{table.name} has no column {', '.join(unknown) or '(none given)'} to change; it has {known}")
    statement = sa.update(table).values({name: sa.bindparam(f"new_{name}") for name in changed})
    for column in table.primary_key.columns:
        statement = statement.where(column == sa.bindparam(f"key_{column.name}"))
    return statement


@lru_cache(maxsize=64)
def names_of(row: type) -> tuple[str, ...]:
    """The fields of a row's class, which are the columns of its table."""
    return tuple(f.name for f in fields(row))


def values(row: Any) -> dict[str, Any]:
    """A row as the parameters of an INSERT."""
    return {name: getattr(row, name) for name in names_of(type(row))}  # type: ignore[arg-type]


class Pending(Generic[R]):
    """`load` reads one row by its key, None where there is none. `frozen`: what is written of a row that was put, taken
    at once, for its caller may change a mapping in it before the flush."""

    def __init__(
        self, table: sa.Table, load: Callable[[Key], R | None], frozen: Callable[[R], dict[str, Any]] = values
    ) -> None:  # fmt: skip
        self._table = table
        self._keys = tuple(c.name for c in table.primary_key.columns)
        self._load = load
        self._frozen = frozen
        self._known: dict[Key, R | None] = {}
        self._new: dict[Key, dict[str, Any]] = {}
        self._changed: dict[Key, dict[str, Any]] = {}

    def key(self, row: R) -> Key:
        return tuple(getattr(row, name) for name in self._keys)

    def get(self, *key: Any) -> R | None:
        """The row as it is now."""
        if key not in self._known:
            self._known[key] = self._load(key)
        return self._known[key]

    def learn(self, rows: Iterable[R]) -> None:
        """These were read from the database; what is known already is newer, or the same."""
        for row in rows:
            self._known.setdefault(self.key(row), row)

    def put(self, row: R) -> None:
        """Insert, or replace as a whole."""
        key = self.key(row)
        self._known[key] = row
        self._new[key] = self._frozen(row)
        self._changed.pop(key, None)

    def set(self, key: Key, changes: Mapping[str, Any]) -> R:
        """Change columns of a row; the row as it is then. NotFound: no such row. ValueError: no such column."""
        update(self._table, tuple(changes))
        row = self.get(*key)
        if row is None:
            told = ", ".join(f"{name} {value}" for name, value in zip(self._keys, key, strict=True))
            raise NotFound(f"{self._table.name} has no row {told}")
        self._known[key] = row = replace(row, **changes)  # type: ignore[type-var]
        self._new[key].update(changes) if key in self._new else self._changed.setdefault(key, {}).update(changes)
        return row

    def flush(self, connection: sa.Connection) -> None:
        """Write what waits: one statement for all new rows, one for each set of columns that were changed."""
        if self._new:
            connection.execute(upsert(self._table, connection.dialect.name), list(self._new.values()))
            self._new = {}
        if self._changed:
            alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
            for key, changes in self._changed.items():
                parameters = {f"new_{name}": value for name, value in changes.items()}
                parameters |= {f"key_{name}": value for name, value in zip(self._keys, key, strict=True)}
                alike.setdefault(tuple(sorted(changes)), []).append(parameters)
            self._changed = {}
            for columns, rows in alike.items():
                connection.execute(update(self._table, columns), rows)
