"""One broker URL for a person, two spellings below: redis-py wants `unix:///path`, Celery `redis+socket:///path`."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit

from searchd.errors import SearchdError

_FORMS = "redis://[user:password@]host:6379/0, rediss://… (TLS) or unix:///path/to/socket"


def redis_url(url: str) -> str:
    """As redis-py takes it. A path that starts with `/` is a unix socket. SearchdError for anything else."""
    if url.startswith("/"):
        return f"unix://{quote(url)}"
    parts = _parts(url)
    if parts.scheme in ("redis", "rediss", "unix"):
        return url
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if "virtual_host" in query:
        query["db"] = query.pop("virtual_host")
    return _join("unix", parts, urlencode(query))


def celery_url(url: str) -> str:
    """As Celery (kombu) takes it."""
    url = redis_url(url)
    parts = _parts(url)
    if parts.scheme != "unix":
        return url
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    query["virtual_host"] = query.pop("db", "0")
    return _join("redis+socket", parts, urlencode(query))


def shown(url: str) -> str:
    """The URL without its password, for messages and logs; never an error. What is no URL is shown as it is."""
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
        secret = parts.password
    except ValueError:
        return "(a URL that cannot be read)"
    if secret is not None:
        user, at, host = parts.netloc.rpartition("@")
        name = user.partition(":")[0]
        parts = parts._replace(netloc=f"{name}:***{at}{host}")
    query = "&".join(p for p in parts.query.split("&") if not p.lower().startswith("password="))
    return _join(parts.scheme, parts, query)


def _join(scheme: str, parts: SplitResult, query: str) -> str:
    """`urlunsplit` would drop the two slashes of a URL without a host."""
    return f"{scheme}://{parts.netloc}{parts.path}{'?' if query else ''}{query}"


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise SearchdError(f"{shown(url)!r} is no broker URL ({e}): use {_FORMS}") from e
    if parts.scheme in ("unix", "redis+socket"):
        if not parts.path or parts.path == "/" or parts.hostname:
            raise SearchdError(f"{shown(url)!r} names no socket: three slashes before its path, unix:///run/redis.sock")
    elif parts.scheme not in ("redis", "rediss"):
        raise SearchdError(f"{shown(url)!r} is no broker URL: use {_FORMS}")
    elif not parts.hostname:
        raise SearchdError(f"{shown(url)!r} names no host: use {_FORMS}")
    return parts
