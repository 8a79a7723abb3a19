"""One broker URL for a person, two spellings below: redis-py wants `unix:///path`, Celery `redis+socket:///path`."""

from __future__ import annotations

import os
from typing import Any
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
    """As Celery (kombu) takes it. With TLS it trusts any certificate unless it is told to look: redis-py looks."""
    url = redis_url(url)
    parts = _parts(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        return _join("rediss", parts, "&".join(filter(None, [parts.query, "ssl_cert_reqs=required"])))
    if parts.scheme != "unix":
        return url
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    query["virtual_host"] = query.pop("db", "0")
    return _join("redis+socket", parts, urlencode(query))


def unusable(url: str, client: Any) -> str:
    """What in the options of a URL redis-py cannot use, before it connects: a file of TLS that is not there, a name
    that it does not know; empty for none. `client`: redis-py's, made from the URL."""
    for name, values in parse_qs(urlsplit(url).query).items():
        if name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") and not os.access(values[-1], os.R_OK):
            return f"{name}={values[-1]} in the broker's URL is no file that can be read here"
    pool = client.connection_pool
    try:
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError) as e:
        name = str(e).rpartition("argument ")[2].strip("'")
        return f"the broker's URL has an option that cannot be used ({name}): ssl_ca_certs=FILE, ssl_cert_reqs, db"
    return ""


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
    query = "&".join(p for p in parts.query.split("&") if not p.lower().startswith(("password=", "ssl_password=")))
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
