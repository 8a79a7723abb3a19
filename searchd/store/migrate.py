"""Alembic, run inside the transaction that opens the store: a schema is old, or new, never in between.

Developers write the next migration with `alembic -c searchd/store/alembic.ini revision -m WHAT`.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from searchd.errors import Refused
from searchd.store.schema import HEAD, metadata

FOLDER = Path(__file__).parent / "migrations"
VERSION_TABLE = "searchd_schema"
"""Not Alembic's usual name, which other programs in the same PostgreSQL database use."""


def version_of(connection: sa.Connection) -> str | None:
    """The schema's version; None where there are no tables of ours. Costs two queries and no import of Alembic."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return version


def migrate(connection: sa.Connection, where: str) -> None:
    """Bring the schema to `HEAD` inside the caller's transaction. Refused when it is newer than this code."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    version = version_of(connection)  # again: another process may have migrated while this one waited to write
    if version == HEAD:
        return
    ours = set(metadata.tables) & set(sa.inspect(connection).get_table_names())
    if version is None and ours:
        names = ", ".join(sorted(ours))
        raise Refused(f"{where} has tables of another program ({names}): give searchd a database of its own")
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise Refused(
            f"{where} has schema {version}, and this searchd knows schemas up to {HEAD}: it was written by a newer "
            "release; upgrade searchd, or give another database"
        )
    command.upgrade(config, "head")
