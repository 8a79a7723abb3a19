"""A disk that is full is nobody's fault and passes: what must be written waits for space, beats go on meanwhile."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from searchd.storage import StorageGone

log = logging.getLogger("searchd.worker")

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No space, a quota, a limit on the size of files."""
LOOK_S = 0.2

T = TypeVar("T")


class NoSpace(Exception):
    """There was no space, and it was not waited for (any longer)."""


def patiently(do: Callable[[], T], give_up: Callable[[], bool]) -> T:
    """What `do` answers, tried again while there is no space for it. Raises NoSpace once `give_up` says so."""
    told = False
    while True:
        try:
            return do()
        except (OSError, StorageGone) as error:
            said = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(said, OSError) or said.errno not in NO_SPACE:
                raise
            if give_up():
                raise NoSpace(str(error)) from error
            if not told:
                log.warning("no space to write in (%s); waiting for it", error)
            told = True
            time.sleep(LOOK_S)
