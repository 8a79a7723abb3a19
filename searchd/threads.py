"""Linear algebra on one thread.

The matrices of a decision have a few hundred rows: threads that wait for each other cost more than they do, four to
eight times the CPU on two cores, and more on more. One thread also adds up in one order, whatever machine decides.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

BRING = ("numpy", "scipy.linalg", "scipy.special", "torch", "mkl")
"""Modules that may load a library of linear algebra."""


def one_thread() -> AbstractContextManager[object]:
    """While it lasts, numpy's and scipy's linear algebra keeps to one thread, in the whole process; then as before.

    Inside another it costs a microsecond or two, else a dozen. OMP_NUM_THREADS and its like are left alone.
    """
    global _found
    if _found is None or _found[0] != len(sys.modules):
        _found = len(sys.modules), _libraries(tuple(name in sys.modules for name in BRING))
    for library in _found[1].lib_controllers:
        if library.get_num_threads() != 1:
            limited: AbstractContextManager[object] = _found[1].limit(limits=1)
            return limited
    return _LIMITED


_LIMITED = nullcontext()
_found: tuple[int, Any] | None = None
"""How many modules there were at the last look, and the libraries that they had brought."""


@lru_cache(maxsize=8)
def _libraries(_: tuple[bool, ...]) -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
