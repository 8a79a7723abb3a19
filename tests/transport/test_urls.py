"""One broker URL, spelt for redis-py and for Celery, and shown without its password."""

from __future__ import annotations

import pytest

from searchd.errors import SearchdError
from searchd.urls import celery_url, redis_url, shown


@pytest.mark.parametrize(
    ("given", "for_redis", "for_celery"),
    [
        ("redis://host:6379/0", "redis://host:6379/0", "redis://host:6379/0"),
        ("rediss://u:p@h/1", "rediss://u:p@h/1", "rediss://u:p@h/1?ssl_cert_reqs=required"),
        ("rediss://h?ssl_ca_certs=/ca", "rediss://h?ssl_ca_certs=/ca", "rediss://h?ssl_ca_certs=/ca&ssl_cert_reqs=required"),
        ("rediss://h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=none"),
        ("unix:///run/r.sock", "unix:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=0"),
        ("/run/r.sock", "unix:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=0"),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2", "redis+socket:///run/r.sock?virtual_host=2"),
        ("unix://:p@/run/r.sock", "unix://:p@/run/r.sock", "redis+socket://:p@/run/r.sock?virtual_host=0"),
        ("redis+socket:///r.sock", "unix:///r.sock", "redis+socket:///r.sock?virtual_host=0"),
        ("redis+socket:///r?virtual_host=3", "unix:///r?db=3", "redis+socket:///r?virtual_host=3"),
    ],
)
def test_spellings(given: str, for_redis: str, for_celery: str) -> None:
    """Each form becomes what the library below takes; database numbers and passwords are kept."""
    assert redis_url(given) == for_redis
    assert celery_url(given) == for_celery


@pytest.mark.parametrize(
    "url", ["amqp://h", "unix://relative/path", "unix://", "redis://", "redis://h:99999/0", "", "x"]
)
def test_what_is_none_is_told(url: str) -> None:
    """The message repeats the URL and shows the forms that work."""
    for spell in (redis_url, celery_url):
        with pytest.raises(SearchdError, match=r"redis://|unix:///"):
            spell(url)


@pytest.mark.parametrize(
    "url",
    ["redis://u:secret@h/0", "redis://:secret@h", "unix://:secret@/s", "redis://h/0?password=secret", "rediss://h?ssl_password=secret",
     "amqp://a:secret@h",
     "redis://u:secret@h:port/0"],
)  # fmt: skip
def test_no_password_is_shown(url: str) -> None:
    """`shown` hides it, whatever else is wrong with the URL."""
    assert "secret" not in shown(url)


@pytest.mark.parametrize("url", ["amqp://a:secret@h", "redis://u:secret@h:port/0", "unix://u:secret@"])
def test_no_error_shows_one(url: str) -> None:
    """A URL that cannot be used is repeated without its password."""
    with pytest.raises(SearchdError) as e:
        redis_url(url)
    assert "secret" not in str(e.value)
