"""The daemon's side of the broker: `Transport`; `open_transport(url)` gives the one over Redis."""

from __future__ import annotations

from searchd.errors import Missing
from searchd.transport.base import Transport, Up

__all__ = ["Transport", "Up", "open_transport"]


def open_transport(url: str) -> Transport:
    """The transport over the Redis-protocol server at `url`; it connects at the first call.

    Raises SearchdError for a URL that is none, Missing when redis-py is not installed.
    """
    try:
        from searchd.transport.redis import RedisTransport
    except ModuleNotFoundError as e:
        raise Missing(f"talking to the broker needs {e.name}: pip install 'searchd[server]'") from e
    return RedisTransport(url)
