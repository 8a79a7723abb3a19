"""What only a server can do to the store: drop its connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.errors import Unreachable
from searchd.store import open_store
from searchd.store.base import Store
from tests.support.stores import BACKENDS, POSTGRES, store_url, study_row

pytestmark = BACKENDS[1].marks  # type: ignore[union-attr]
DROP = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mine'"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with store_url("postgresql", tmp_path) as url:
        opened = open_store(f"{url}&application_name=mine")
        yield opened
        opened.close()


def drop_connections() -> None:
    import psycopg

    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        assert connection.execute(DROP).fetchall()


def test_a_dropped_connection_is_replaced(store: Store) -> None:
    """A server that dropped the idle connections (a restart) is used again without an error."""
    with store.transaction() as t:
        t.add_study(study_row())
    drop_connections()
    with store.transaction() as t:
        t.append("digits-1", "x", {}, 1.0)
    drop_connections()
    with store.reading() as r:
        assert len(r.events("digits-1")) == 1


def test_a_connection_dropped_inside_a_transaction_is_unreachable(store: Store) -> None:
    """It ends as Unreachable, nothing of it is committed, and the next transaction works."""
    with store.transaction() as t:
        t.add_study(study_row())
    with pytest.raises(Unreachable, match="does not answer"), store.transaction() as t:  # noqa: PT012
        t.append("digits-1", "lost", {}, 1.0)
        drop_connections()
    with store.transaction() as t:
        assert t.append("digits-1", "x", {}, 1.0) == 1
