"""Run by Alembic: migrates the connection that `store.migrate` hands over, or the URL of `alembic -x url=…`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from searchd.store.migrate import VERSION_TABLE
from searchd.store.schema import metadata


def _run(connection: sa.Connection) -> None:
    batch = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=batch, version_table=VERSION_TABLE
    )
    context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    engine = sa.create_engine(context.get_x_argument(as_dictionary=True)["url"])
    with engine.begin() as made:
        _run(made)
    engine.dispose()
