"""The fencing token of the daemon that writes (Gray and Cheriton, 1989, SOSP; Kleppmann, 2016).

A lock alone does not keep a daemon from writing that was stopped for long, lost its lock meanwhile and goes on. So each
daemon that begins raises a number in the database, and every transaction of its store compares the number with its own
before it writes: of two daemons, whatever the locks say, the older one is `Fenced`. Transactions come one after
another, so the comparison holds until the commit.
"""

from __future__ import annotations

import sqlalchemy as sa

from searchd.errors import Fenced
from searchd.store.schema import lead

_NOW = sa.select(lead.c.token, lead.c.holder)


def take(connection: sa.Connection, holder: str) -> int:
    """Raise the token, in the name of `holder` (for messages); the new one. Inside a transaction that is alone."""
    row = connection.execute(_NOW).one_or_none()
    if row is None:
        connection.execute(sa.insert(lead).values(one=1, token=1, holder=holder))
        return 1
    connection.execute(sa.update(lead).values(token=row.token + 1, holder=holder))
    return int(row.token) + 1


def check(connection: sa.Connection, token: int) -> None:
    """Fenced when somebody raised the token since."""
    row = connection.execute(_NOW).one_or_none()
    if row is None or row.token != token:
        holder = "somebody else" if row is None else row.holder
        raise Fenced(f"this daemon lost the database to another one ({holder}) and writes no more: it ends")
