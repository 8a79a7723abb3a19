"""Python's collector of garbage, kept from looking where it would look in vain.

It looks at everything that was made since it looked last, and now and then at all there is. Imports, and the replay of
a log, make hundreds of thousands of things that stay: a third of the time of a daemon's start went there.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """The collector rests. For one thread's stretch of work: it is the process's, so others' garbage waits too."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def at_rest() -> Iterator[None]:
    """`uncollected`, and what is there at the end is never looked at again: it is there for as long as the process."""
    with uncollected():
        yield
        gc.freeze()
