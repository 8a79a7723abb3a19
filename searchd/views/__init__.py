"""What people see of a study: pure functions from a store's `Reader` to JSON-able values, NaN and infinity as null.

The HTTP routes and the client of a folder answer with these and nothing else, so both say the same. Every function
takes a study's id and raises NotFound when there is none.
"""

from __future__ import annotations

from searchd.views.captured import captured
from searchd.views.compare import compare
from searchd.views.fleet import waits, working
from searchd.views.fronts import front
from searchd.views.logs import log
from searchd.views.overview import summary
from searchd.views.training import curves, rungs, trial, trials

__all__ = [
    "captured", "compare", "curves", "front", "log", "rungs", "summary", "trial", "trials", "waits", "working",
]  # fmt: skip
