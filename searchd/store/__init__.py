"""The store: `open_store(url)`. Its contract is `searchd.store.base`; importing this package imports no SQLAlchemy."""

from __future__ import annotations

from pathlib import Path

from searchd.errors import Missing
from searchd.store.base import Store

__all__ = ["Store", "open_store"]


def open_store(url: str | Path, *, create: bool = True, readonly: bool = False) -> Store:
    """The store at `url`: `sqlite:///relative.db`, `sqlite:////absolute.db`, a plain path, or `postgresql://…`.

    `create`: make the SQLite file, its folder and the tables where they are missing; without it a missing
    database is NotFound. An older schema is migrated in both cases. `readonly`: never writes, never migrates,
    and works beside a writer as well as on a database at rest.

    Raises NotFound, Unreachable (no answer), Refused (not a database of ours, a newer schema, an unwritable
    path), Missing (SQLAlchemy or the PostgreSQL driver is not installed).
    """
    try:
        from searchd.store.sql import SqlStore
    except ModuleNotFoundError as e:
        raise Missing(f"reading a study's database needs {e.name}: pip install 'searchd[server]'") from e
    return SqlStore.open(str(url), create=create, readonly=readonly)
