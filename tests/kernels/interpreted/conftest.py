"""These files run Triton kernels in NumPy, which triton decides when it is imported: in a process of their own.

`test_interpreted.py` starts that, one for all of them; by hand: `TRITON_INTERPRET=1 pytest tests/kernels/interpreted`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from kernels._choose import interpreting

collect_ignore_glob = [] if interpreting() else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def patched_once() -> Iterator[None]:
    """The interpreter looks through `triton.language` at each call of a function by a kernel, to put its own functions
    in the place of the compiler's: a quarter of the time. Here it looks only where that was not done yet."""
    from triton import language as tl
    from triton.runtime import interpreter

    patch = interpreter._patch_lang

    def missing(fn: Any) -> Any:
        seen = {m for m in fn.__globals__.values() if inspect.ismodule(m) and m in (tl, tl.core)}
        done = seen and not any(tl.core.is_builtin(m.load) for m in seen)
        return interpreter._LangPatchScope() if done else patch(fn)

    interpreter._patch_lang = missing
    yield
    interpreter._patch_lang = patch
