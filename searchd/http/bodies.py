"""What a body must be before a route sees it: whole, not too large, in time, and JSON that every part can hold.

Python's own reader takes NaN, numbers of thousands of digits, lone surrogates and a million brackets; a database, a
log or a later answer then breaks on them. So they are refused at the door.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from searchd.errors import TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
DEEPEST = 64
LONGEST = 300
"""Digits of a number."""


class Gone(Exception):
    """The caller went away in the middle of its body."""


async def whole(receive: Receive, headers: MutableMapping[bytes, bytes] | dict[bytes, bytes], most: int) -> bytes:
    """The body of a request. TooLarge at the first byte beyond `most`, before it is read where its length is said."""
    said = headers.get(b"content-length", b"0")
    too_large = TooLarge(f"more than {most >> 20} MiB are refused; data belongs in files, not in a study")
    if said.isdigit() and len(said) < 20 and int(said) > most:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body += message.get("body", b"")
        if len(body) > most:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then whatever comes."""
    given = False

    async def once() -> MutableMapping[str, Any]:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return once


async def within(seconds: float, coming: Awaitable[bytes]) -> bytes:
    """What comes, or TimeoutError."""
    return await asyncio.wait_for(coming, seconds)


def fault(body: bytes) -> str | None:
    """Why this JSON is not taken; None: it is, or it is none (its route says so)."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_constant=_constant, parse_int=_int)
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not UTF-8: send JSON as UTF-8"
    except RecursionError:
        return f"nested deeper than {DEEPEST}: flatten it"
    except _NotTaken as error:
        return str(error)
    except ValueError:
        return None
    return _walked(value)


class _NotTaken(Exception):
    pass


def _constant(word: str) -> Any:
    raise _NotTaken(f"{word} is no JSON: write a number, or null")


def _int(digits: str) -> int:
    if len(digits) > LONGEST:
        raise _NotTaken(f"a number of {len(digits)} digits is too long")
    return int(digits)


def _walked(value: Any) -> str | None:
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        here, depth = waiting.pop()
        if depth > DEEPEST:
            return f"nested deeper than {DEEPEST}: flatten it"
        if isinstance(here, str):
            if "\x00" in here or not _encodes(here):
                return "text with a NUL or half a surrogate pair is not taken: write whole characters"
        elif isinstance(here, dict):
            waiting += [(key, depth) for key in here]
            waiting += [(inner, depth + 1) for inner in here.values()]
        elif isinstance(here, list):
            waiting += [(inner, depth + 1) for inner in here]
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
