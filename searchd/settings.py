"""What a process of the service is told by its environment; the command line goes first.

| variable | meaning | default |
| --- | --- | --- |
| SEARCHD_DATABASE | the store: `sqlite:///out/searchd.db`, `postgresql://…` | none |
| SEARCHD_BROKER | the Redis-protocol server: `redis://…`, `rediss://…`, `unix:///…` | none |
| SEARCHD_ARTIFACTS | folder or URL (`s3://bucket/prefix`) of checkpoints and exported files, the workers' too | `out` |
| SEARCHD_HOST, SEARCHD_PORT | where the daemon listens | `127.0.0.1`, 8700 |
| SEARCHD_TOKEN, SEARCHD_TOKEN_FILE | the bearer token, or the file that holds it (a secret's mount) | none |
| SEARCHD_PAGE_TOKEN_FILE | where the daemon keeps a token of scope `read` for the page, made at its start | none |
| SEARCHD_RATE | requests a second for each token (or address); 0: no limit | 100 |
| SEARCHD_STUDIES | how many studies may be unfinished at a time | 1000 |
| SEARCHD_LOG_FORMAT | `text`, or `json`: one object a line | `text` |
| SEARCHD_WEBHOOK | who is told when a study ends: an http(s) URL | none |
| SEARCHD_WEBHOOK_SECRET, SEARCHD_WEBHOOK_SECRET_FILE | what the messages are signed with | none |
| SEARCHD_WEBHOOK_ON | which ends are told, commas between | `done,stopped,faulted` |
| SEARCHD_URL | where a client finds the daemon | none: read folders |
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from searchd.errors import BadSetting, Refused, SearchdError
from searchd.storage import open_storage
from searchd.urls import redis_url, shown

PREFIX = "SEARCHD_"
SECRETS = ("token", "webhook_secret")
"""What may come from a file, named by the variable with `_FILE` behind it, and is never shown."""
ENDS = ("done", "stopped", "faulted")


class Settings(BaseModel):
    """Frozen. `token` and `webhook_secret` never show in a repr or a log. `secret`: the token as text. A URL that
    nobody gave is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: str | None = Field(default=None, min_length=1)
    broker: str | None = None
    artifacts: str = Field(default="out", min_length=1)
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8700, ge=0, le=65535)
    token: SecretStr | None = None
    page_token_file: str | None = Field(default=None, min_length=1)
    rate: float = Field(default=100.0, ge=0, allow_inf_nan=False)
    studies: int = Field(default=1000, ge=1)
    log_format: Literal["text", "json"] = "text"
    webhook: str | None = None
    webhook_secret: SecretStr | None = None
    webhook_on: str = "done,stopped,faulted"
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

    @field_validator("token", "webhook_secret")
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

    @field_validator("webhook")
    @classmethod
    def _a_receiver(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "http://none")
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            good = False
        if not good:
            raise ValueError("no address of a receiver; write it like https://host/path")
        return value

    @field_validator("webhook_on")
    @classmethod
    def _ends(cls, value: str) -> str:
        named = [word.strip() for word in value.split(",") if word.strip()]
        if not named or not set(named) <= set(ENDS):
            raise ValueError(f"the ends of a study are {', '.join(ENDS)}: name some of them, commas between")
        return ",".join(named)

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

    def may_tell(self) -> None:
        """BadSetting when a receiver of webhooks is named and there is nothing to sign the messages with."""
        if self.webhook is not None and self.webhook_secret is None:
            raise BadSetting("SEARCHD_WEBHOOK is set, and its messages are signed: set SEARCHD_WEBHOOK_SECRET, or "
                             "SEARCHD_WEBHOOK_SECRET_FILE")  # fmt: skip


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
        told["token"] = _secret_in(Path(token_file), called["token"], "the token")
    for name in SECRETS:
        variable = PREFIX + name.upper()
        file = environ.get(f"{variable}_FILE", "").strip()
        if name in told or not file or (names and name not in names):
            continue
        what = f"the {name.replace('_', ' ')}"
        if name in values:
            raise BadSetting(f"{variable} and {variable}_FILE are both set: which is {what}? Unset one")
        called[name] = f"{variable}_FILE {file}"
        values[name] = _secret_in(Path(file), called[name], what)
    try:
        return Settings(**{**values, **told})
    except ValidationError as e:
        problems = e.errors(include_url=False, include_context=False)
        raise BadSetting("\n".join(_line(p, called) for p in problems)) from None


def _secret_in(file: Path, called: str, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        why = getattr(e, "strerror", None) or "it is not text"
        raise BadSetting(f"{called} cannot be read ({why}): give a readable file that holds {what}") from None


def _line(problem: Any, called: Mapping[str, str]) -> str:
    """`SEARCHD_PORT = 'many': …` of a variable, `port = 'many': …` of what was given."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    said = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{name}: there is no such setting; there are {', '.join(Settings.model_fields)}"
    given = problem.get("input")
    seen = shown(given) if isinstance(given, str) else given
    value = "" if name in SECRETS or given is None else f" = {seen!r}"
    return f"{called.get(name, PREFIX + name.upper())}{value}: {said}"
