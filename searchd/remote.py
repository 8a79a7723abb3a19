"""A daemon over HTTP, as the client sees it: paths in, JSON out, every refusal as the error that the daemon meant."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from searchd.errors import (
    Forbidden,
    Missing,
    NotFound,
    Problem,
    Refused,
    SearchdError,
    SpaceError,
    StudyError,
    TooLarge,
    TooMany,
    Unreachable,
)

_MEANT: dict[int, type[SearchdError]] = {
    400: Refused,
    401: Refused,
    403: Forbidden,
    404: NotFound,
    409: Refused,
    413: TooLarge,
    422: SpaceError,
    429: TooMany,
    501: Missing,
    503: Unreachable,
}


RETRIES = 4
LONGEST_S = 5.0
"""How often, and how long each time at most, the client waits when the daemon says that it asks too much."""


class Remote:
    """The HTTP backend of a `Client`. `transport` is httpx's seam: tests put the real application behind it."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)
        except httpx.InvalidURL as error:
            raise Unreachable(f"{url!r} is no URL ({error}); write it like http://127.0.0.1:8700") from error
        self.url = url

    def studies(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._json("GET", "/v1/studies")
        return answer

    def read(self, study: str, view: str, **params: Any) -> Any:
        """One view of a study: `""` (the summary), `spec`, `front`, `trials`, `trials/N`, `trials/N/logs`, `curves`,
        `rungs`, `log`, `compare`, `deepen`."""
        given = {k: v for k, v in params.items() if v is not None}
        return self._json("GET", self._path(study, view), params=given)

    def command(self, study: str, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """`pause`, `resume`, `stop`, `trials/N/stop`, `inject`, `extend`, `priority`, `deepen`, `rebase`."""
        answer: dict[str, Any] = self._json("POST", self._path(study, verb), json=body)
        return answer

    def submit(self, spec: dict[str, Any], artifacts: str | None = None) -> str:
        answer = self._json("POST", "/v1/studies", json={"spec": spec, "artifacts": artifacts})
        return str(answer["id"])

    def workers(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._json("GET", "/v1/workers")
        return answer

    def devices(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._json("GET", "/v1/devices")
        return answer

    def device(self, name: str, *, whole: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = self._json("GET", f"{_of_device(name)}{'/profile' if whole else ''}")
        return answer

    def add_device(self, name: str, runtime: str | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._json("POST", "/v1/devices", json={"name": name, "runtime": runtime})
        return answer

    def remove_device(self, name: str) -> None:
        self._json("DELETE", _of_device(name))

    def profile_device(self, name: str, spec: dict[str, Any], architectures: int | None) -> dict[str, Any]:
        body = {"spec": spec, "architectures": architectures}
        answer: dict[str, Any] = self._json("POST", f"{_of_device(name)}/profile", json=body)
        return answer

    def me(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._json("GET", "/v1/me")
        return answer

    def tokens(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self._json("GET", "/v1/tokens")
        return answer

    def add_token(self, name: str, scope: str, expires_s: float | None = None) -> dict[str, Any]:
        body = {"name": name, "scope": scope, "expires_s": expires_s}
        answer: dict[str, Any] = self._json("POST", "/v1/tokens", json=body)
        return answer

    def remove_token(self, name: str) -> None:
        if not name:
            raise NotFound("no token '': give its name")
        self._json("DELETE", f"/v1/tokens/{quote(name, safe='')}")

    def fetch(self, study: str, path: str, to: Path) -> None:
        """Write one file of the study to `to`."""
        with self._asking(), self._http.stream("GET", self._path(study, f"files/{quote(path)}")) as response:
            if response.status_code >= 400:
                response.read()
                raise meant(response)
            with to.open("wb") as out:
                for chunk in response.iter_bytes():
                    out.write(chunk)

    def alive(self, study: str) -> bool:  # noqa: ARG002  (the daemon that answers is the one that runs it)
        """Whether a daemon stands behind the study."""
        try:
            self._json("GET", "/healthz")
        except SearchdError:
            return False
        return True

    def goes_on(self, study: str) -> str:  # noqa: ARG002  (every study of the daemon)
        """Whoever runs the daemon starts it again."""
        return "start its daemon (`searchd serve`) again and it goes on"

    def home(self, study: str) -> Path | None:  # noqa: ARG002  (files lie where the daemon is)
        """No folder of this machine."""
        return None

    def code(self, study: str) -> Path | None:  # noqa: ARG002
        """Unknown: the workers know where they find a user's code."""
        return None

    def close(self) -> None:
        self._http.close()

    def _path(self, study: str, view: str) -> str:
        if not study:
            raise NotFound("no study '': give a name or an id")
        return f"/v1/studies/{quote(study, safe='')}" + (f"/{view}" if view else "")

    def _json(self, method: str, path: str, **kwargs: Any) -> Any:
        for _ in range(RETRIES):
            with self._asking():
                response = self._http.request(method, path, **kwargs)
            wait_s = _seconds(response)
            if response.status_code != 429 or wait_s > LONGEST_S:
                break
            time.sleep(wait_s)
        if response.status_code >= 400:
            raise meant(response)
        return response.json()

    def _asking(self) -> _Asking:
        return _Asking(self.url)


def _of_device(name: str) -> str:
    if not name:
        raise NotFound("no device '': give its name")
    return f"/v1/devices/{quote(name, safe='')}"


class _Asking:
    """Turns what goes wrong on the way into `Unreachable`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.TimeoutException):
            raise Unreachable(f"{self._url} took too long to answer; is the daemon busy or stuck?") from error
        if isinstance(error, httpx.HTTPError):
            raise Unreachable(f"{self._url} does not answer ({error}); is `searchd serve` running there?") from error


def meant(response: httpx.Response) -> SearchdError:
    """The error that the daemon meant by this response."""
    try:
        body = response.json()
        message, found = str(body["error"]), body.get("problems") or []
    except (ValueError, KeyError, TypeError):
        return SearchdError(f"{response.request.url} answered {response.status_code}, not as searchd does: wrong URL?")
    if response.status_code == 422 and found:
        return StudyError([Problem(p.get("path", ""), p["message"], p.get("line"), p.get("file")) for p in found])
    if response.status_code == 429:
        return TooMany(message, _seconds(response))
    return _MEANT.get(response.status_code, SearchdError)(message)


def _seconds(response: httpx.Response) -> float:
    """What `Retry-After` says; 1 where it says nothing."""
    said = response.headers.get("retry-after", "")
    return float(said) if said.isdigit() else 1.0
