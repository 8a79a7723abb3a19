"""What breaks the engine is tried three times; then the message is set aside and its study faulted, with the reason."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from searchd.engine import Engine, Stops
from searchd.errors import SearchdError, Unreachable
from searchd.transport import Up

log = logging.getLogger("searchd.daemon")

STRIKES = 3

T = TypeVar("T")


class Strikes:
    """Counts, by study, how often in a row something broke that no message asked for. `clock`: Unix seconds.

    Unreachable goes through: a database or a broker that is away is nobody's fault.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._of: Counter[str] = Counter()

    def forgive(self, study: str) -> None:
        """A person sent the study on: it begins with no strike."""
        self._of.pop(study, None)

    def message(self, engine: Engine, message: Up) -> Stops:
        """Record one message; set it aside when it broke the engine STRIKES times."""
        for strike in range(1, STRIKES + 1):
            try:
                return engine.step([message], self._clock())
            except Unreachable:
                raise
            except Exception as error:
                log.exception("study %s: strike %d of job %s", engine.study, strike, message.job, extra={
                    "study": engine.study, "trial": message.trial, "job": message.job, "attempt": message.attempt,
                })  # fmt: skip
                if strike == STRIKES:
                    engine.quarantine(_told(error), message.model_dump_json(), self._clock())
        return {}

    def guarded(self, engine: Engine, do: Callable[[Engine], T]) -> T | None:
        """Do something that no message asked for; None when it broke. A user's error faults the study at once."""
        study = engine.study
        try:
            done = do(engine)
        except Unreachable:
            raise
        except Exception as error:
            self._of[study] += 1
            if isinstance(error, SearchdError):
                log.error("study %s: %s", study, error, extra={"study": study})
            else:
                log.exception("study %s: strike %d", study, self._of[study], extra={"study": study})
            if isinstance(error, SearchdError) or self._of[study] >= STRIKES:
                engine.quarantine(_told(error), "", self._clock())
                del self._of[study]
            return None
        self._of.pop(study, None)
        return done


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, SearchdError) else f"a bug: {type(error).__name__}: {error}"
