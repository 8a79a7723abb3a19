"""What a process of the service is told by its environment; the command line goes first.

| variable | meaning | default |
| --- | --- | --- |
| SEARCHD_DATABASE | the store: `sqlite:///out/searchd.db`, `postgresql://…` | none |
| SEARCHD_BROKER | the Redis-protocol server: `redis://…`, `rediss://…`, `unix:///…` | none |
| SEARCHD_ARTIFACTS | folder or URL (`s3://bucket/prefix`) of checkpoints and exported files, the workers' too | `out` |
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

from searchd.errors import BadSetting, Refused, SearchdError
from searchd.storage import open_storage
from searchd.urls import redis_url, shown

PREFIX = "SEARCHD_"


class Settings(BaseModel):
    """Frozen. `token` never shows in a repr or a log: ask for it by `secret`. A URL that nobody gave is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: str | None = Field(default=None, min_length=1)
    broker: str | None = None
    artifacts: str = Field(default="out", min_length=1)
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8700, ge=0, le=65535)
    token: SecretStr | None = None
    url: str | None = None

    @field_validator("broker")
    @classmethod
    def _a_broker(cls, value: str | None) -> str | None:
        try:
            redis_url(value or "")
        except SearchdError as e:
            raise ValueError(str(e)) from e
        return value

    @field_validator("artifacts")
    @classmethod
    def _a_place(cls, value: str) -> str:
        try:
            open_storage(value)  # looks at the URL alone
        except SearchdError as e:
            raise ValueError(str(e)) from None
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
            raise ValueError("no address of a daemon; write it like http://host:8700")
        return value.rstrip("/")

    @property
    def secret(self) -> str | None:
        """The token as text, for comparing and for a header."""
        return None if self.token is None else self.token.get_secret_value()

    def may_listen(self) -> None:
        """Refused when the daemon would listen beyond this machine without a token."""
        if self.token is None and not is_loopback(self.host):
            raise Refused(
                f"listening on {self.host} without a token lets others on the network command this daemon: give "
                "--token-file, SEARCHD_TOKEN_FILE or SEARCHD_TOKEN, or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """True for `localhost` and for addresses of the loopback network; a name that needs a resolver is not one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings(
    *names: str, environ: Mapping[str, str] | None = None, token_file: str | os.PathLike[str] | None = None,
    **given: Any,
) -> Settings:  # fmt: skip
    """Settings from the environment; whatever is `given` and not None goes first, a file of the token too.

    `names`: what this process needs, so that a bad variable of another part does not stop it; none: all of them.
    Empty variables count as unset (a compose file passes those on). Raises BadSetting that names every bad variable
    or option and never shows a token or a password.
    """
    environ = os.environ if environ is None else environ
    told = {name: value for name, value in given.items() if value is not None}
    called = {name: name for name in told}
    values: dict[str, Any] = {}
    for name in names or Settings.model_fields:
        if text := environ.get(PREFIX + name.upper(), "").strip():
            values[name] = text
    if "token" not in told and token_file is not None:
        called["token"] = str(token_file)
        told["token"] = _token_in(Path(token_file), called["token"])
    elif "token" not in told and (not names or "token" in names):
        file = environ.get(f"{PREFIX}TOKEN_FILE", "").strip()
        if file and "token" in values:
            raise BadSetting(f"{PREFIX}TOKEN and {PREFIX}TOKEN_FILE are both set: which is the token? Unset one")
        if file:
            called["token"] = f"{PREFIX}TOKEN_FILE {file}"
            values["token"] = _token_in(Path(file), called["token"])
    try:
        return Settings(**{**values, **told})
    except ValidationError as e:
        problems = e.errors(include_url=False, include_context=False)
        raise BadSetting("\n".join(_line(p, called) for p in problems)) from None


def _token_in(file: Path, called: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "it is not text"
        raise BadSetting(f"{called} cannot be read ({why}): give a readable file that holds the token") from None


def _line(problem: Any, called: Mapping[str, str]) -> str:
    """`SEARCHD_PORT = 'many': …` of a variable, `port = 'many': …` of what was given."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    said = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting; there are {', '.join(Settings.model_fields)}"
    given = problem.get("input")
    seen = shown(given) if isinstance(given, str) else given
    value = "" if name == "token" or given is None else f" = {seen!r}"
    return f"{called.get(name, PREFIX + name.upper())}{value}: {said}"
