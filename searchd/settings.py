"""What a process of the service is told by its environment; the command line goes first.

| variable | meaning | default |
| --- | --- | --- |
| SEARCHD_DATABASE | the store: `sqlite:///out/searchd.db`, `postgresql://…` | `sqlite:///out/searchd.db` |
| SEARCHD_BROKER | the Redis-protocol server: `redis://…`, `rediss://…`, `unix:///…` | `redis://127.0.0.1:6379/0` |
| SEARCHD_ARTIFACTS | folder of checkpoints and exported files, shared with the workers | `out` |
| SEARCHD_HOST, SEARCHD_PORT | where the daemon listens | `127.0.0.1`, 8700 |
| SEARCHD_TOKEN, SEARCHD_TOKEN_FILE | the bearer token, or the file that holds it (a secret's mount) | none |
| SEARCHD_URL | where a client finds the daemon | none: read folders |
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from searchd.errors import Refused, SearchdError
from searchd.urls import redis_url, shown

PREFIX = "SEARCHD_"


class Settings(BaseModel):
    """Frozen. `token` never shows in a repr or a log: ask for it by `secret`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: str = Field(default="sqlite:///out/searchd.db", min_length=1)
    broker: str = "redis://127.0.0.1:6379/0"
    artifacts: str = Field(default="out", min_length=1)
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8700, ge=0, le=65535)
    token: SecretStr | None = None
    url: str | None = None

    @field_validator("broker")
    @classmethod
    def _a_broker(cls, value: str) -> str:
        try:
            redis_url(value)
        except SearchdError as e:
            raise ValueError(str(e)) from e
        return value

    @field_validator("token")
    @classmethod
    def _a_token(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value() if value is not None else "none"
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("a token is ASCII without spaces and not empty: take the output of `openssl rand -hex 32`")
        return value

    @field_validator("url")
    @classmethod
    def _a_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"{value!r} is no address of a daemon: http://host:8700")
        return value.rstrip("/")

    @property
    def secret(self) -> str | None:
        """The token as text, for comparing and for a header."""
        return None if self.token is None else self.token.get_secret_value()

    def may_listen(self) -> None:
        """Refused when the daemon would listen beyond this machine without a token."""
        if self.token is None and not is_loopback(self.host):
            raise Refused(
                f"listening on {self.host} lets others on the network command this daemon: set SEARCHD_TOKEN or "
                "SEARCHD_TOKEN_FILE, or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """True for `localhost` and for addresses of the loopback network; a name that needs a resolver is not one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Settings from the environment; whatever is `given` and not None goes first.

    Empty variables count as unset (a compose file passes those on). `token_file` may be given too. Raises
    SearchdError that names every bad variable and never shows a token.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        if text := environ.get(PREFIX + name.upper(), "").strip():
            values[name] = text
    file = given.pop("token_file", None) or environ.get(PREFIX + "TOKEN_FILE", "").strip()
    if file and given.get("token") is None:
        if "token" in values:
            raise SearchdError(f"{PREFIX}TOKEN and {PREFIX}TOKEN_FILE are both set: which is the token? Unset one")
        values["token"] = _token_in(Path(file))
    values.update({name: value for name, value in given.items() if value is not None})
    try:
        return Settings(**values)
    except ValidationError as e:
        raise SearchdError("\n".join(_line(p) for p in e.errors(include_url=False, include_context=False))) from None


def _token_in(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "it is not text"
        raise SearchdError(f"{PREFIX}TOKEN_FILE {file} cannot be read ({why}): give a readable file") from e


def _line(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    said = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting; there are {', '.join(Settings.model_fields)}"
    given = problem.get("input")
    seen = shown(given) if isinstance(given, str) else given
    value = "" if name == "token" or given is None else f" = {seen!r}"
    return f"{PREFIX}{name.upper()}{value}: {said}"
