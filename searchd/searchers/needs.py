"""Parts that a searcher needs and that an installation may lack."""

from __future__ import annotations

from importlib.util import find_spec

from searchd.errors import Missing


def need(searcher: str, part: str, instead: str = "random") -> None:
    """Missing, with what to install or use instead, when `part` is not there."""
    if find_spec(part) is None:
        raise Missing(
            f"the searcher {searcher!r} needs {part}: pip install 'searchd[server]', or use searcher: {instead}"
        )
