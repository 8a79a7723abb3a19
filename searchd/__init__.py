"""AutoML as a service: a study in YAML in, a Pareto front of deployable models out, for the hardware that you named.

    from searchd import Client, Study

    client = Client()                              # reads ./out; Client("http://host:8700", token=...) a daemon
    client.front("digits", frame=True)             # the front as a DataFrame

Light: importing this package imports neither torch, optuna, celery nor sqlalchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from searchd.client import Client
    from searchd.errors import SearchdError
    from spaces.study import Study

__version__ = "0.1.0"
__all__ = ["Client", "SearchdError", "Study", "__version__"]

_HOME = {"Client": "searchd.client", "SearchdError": "searchd.errors", "Study": "spaces.study"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'searchd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
