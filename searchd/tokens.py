"""Bearer tokens: made here, kept as SHA-256, compared in constant time. A scope holds those before it.

A minted secret has 256 random bits, so one SHA-256 is enough: there is no list of likely secrets to try, and a slow
salted hash would only make each request slow. The daemon's own token (`--token-file`) is `admin` and in no table.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from searchd.errors import NotFound, Refused, Unreachable
from searchd.private import write_private
from searchd.store.base import Scope, Store, TokenRow

SCOPES: tuple[Scope, ...] = ("read", "submit", "admin")
OWN = "the daemon's own token"
PREFIX = "sd_"
"""How a minted secret begins, so that scanners for leaked secrets know one."""
KEPT_S = 5.0
"""How long the table is remembered. What this process changes holds at once."""
MOST = 1000
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name of a token, and how far it reaches."""

    name: str
    scope: Scope

    def reaches(self, scope: Scope) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)


def digest(secret: str) -> str:
    """SHA-256 of a secret in hex: what is kept of it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """Who holds which token. `own`: the daemon's, None: it has none, and everybody on this machine is `admin`.

    Safe from several threads. `ticks`: monotonic seconds; `now` of the calls: Unix seconds, for what expires.
    """

    def __init__(self, store: Store, own: str | None, ticks: Callable[[], float]) -> None:
        self._store = store
        self._own = None if own is None else digest(own)
        self._ticks = ticks
        self._rows: tuple[TokenRow, ...] | None = None
        self._read_at = 0.0
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """No token is wanted."""
        return self._own is None

    @property
    def fresh(self) -> bool:
        """`caller` would answer without asking the store."""
        return self._rows is not None and self._ticks() - self._read_at < KEPT_S

    def caller(self, secret: str, now: float) -> Caller | None:
        """Who holds this secret; None: nobody, or not any more. Every token is compared, whichever it is."""
        found: Caller | None = None
        given = digest(secret)
        if self._own is not None and secrets.compare_digest(given, self._own):
            return Caller(OWN, "admin")
        for row in self._known():
            same = secrets.compare_digest(given, row.sha256)
            if same and (row.expires_at is None or now < row.expires_at):
                found = Caller(row.name, row.scope)
        return found

    def still(self, caller: Caller, now: float) -> bool:
        """Whether who came in may stay: the token is there and has not expired."""
        own = self._own is None or caller.name == OWN
        return own or any(row.name == caller.name and not _over(row, now) for row in self._known())

    def add(self, name: str, scope: Scope, expires_s: float | None, now: float) -> tuple[TokenRow, str]:
        """A new token and its secret, which is kept nowhere. Refused when the name is taken or is none."""
        if self._own is None:
            raise Refused("this daemon has no token of its own, so everybody on this machine may do everything, and "
                          "another token would guard nothing: start it with --token-file, then add")  # fmt: skip
        if not _NAME.fullmatch(name):
            raise Refused(f"{name!r} is no name of a token: letters, digits, `.`, `_` and `-`, at most 64")
        secret = PREFIX + secrets.token_urlsafe(32)
        row = TokenRow(name, scope, digest(secret), now, None if expires_s is None else now + expires_s)
        with self._store.transaction() as tx:
            known = tx.tokens()
            old = next((r for r in known if r.name == name), None)
            if old is not None and not _over(old, now):
                raise Refused(f"there is a token {name!r} already: remove it, or take another name")
            if len(known) >= MOST:
                raise Refused(f"there are {len(known)} tokens, and {MOST} is the limit: remove some")
            tx.put_token(row)
        self._forget()
        return row, secret

    def keep(self, file: Path, name: str, scope: Scope, now: float) -> None:
        """A token whose secret lies in a file, for another part of the service: what is there is left while it holds,
        else it is made anew, readable by this user only. Refused when the file cannot be written."""
        if self._own is None:
            return  # nobody asks for one
        try:
            held = self.caller(file.read_text(encoding="utf-8").strip(), now) if file.is_file() else None
            if held == Caller(name, scope):
                return
            with self._store.transaction() as tx:
                if any(row.name == name for row in tx.tokens()):
                    tx.drop_token(name)
            _, secret = self.add(name, scope, None, now)
            write_private(file, secret)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else "it holds no text"
            raise Refused(f"the token {name} cannot be kept in {file} ({said}): name a file that this user may write, "
                          "in a folder that is there") from error  # fmt: skip

    def remove(self, name: str) -> None:
        """The token is none from now on. NotFound when there is none of that name."""
        with self._store.transaction() as tx:
            known = [row.name for row in tx.tokens()]
            if name not in known:
                raise NotFound(f"no token {name!r}; there are: {', '.join(known) or 'none'}")
            tx.drop_token(name)
        self._forget()

    def listed(self) -> list[TokenRow]:
        with self._store.reading() as reader:
            return reader.tokens()

    def _known(self) -> tuple[TokenRow, ...]:
        if not self.fresh:
            began = self._ticks()
            try:
                rows = tuple(self.listed())
            except Unreachable:
                if self._rows is None:
                    raise
                rows = self._rows  # as they were: a database that is away locks nobody out who was in
            with self._lock:
                self._rows, self._read_at = rows, began
        return self._rows or ()

    def _forget(self) -> None:
        with self._lock:
            self._rows = None


def _over(row: TokenRow, now: float) -> bool:
    return row.expires_at is not None and row.expires_at <= now
