"""Daemon, Celery and workers over a broker that wants TLS and a user: `rediss://user:password@host:port/0?…`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from searchd import Client, Study
from searchd.dispatch import CeleryDispatcher
from searchd.errors import Refused, Unreachable
from searchd.transport import open_transport
from searchd.wire import Dispatch
from tests.support.place import TOKEN, Place, end
from tests.support.runs import check_reports
from tests.support.tls import PASSWORD, SecureBroker, authority, without_tls
from workers.uplink import connect

pytestmark = [
    pytest.mark.acceptance, pytest.mark.timeout(200), pytest.mark.skipif(bool(without_tls()), reason=without_tls()),
]  # fmt: skip
STUDY = {
    "study": "secure",
    "space": {"width": {"int": [4, 8]}},
    "use": ["optimizers/basic"],
    "objectives": {"val_error": "minimize", "bytes": "minimize"},
    "search": {"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3},
    "budget": {"trials": 3, "parallel": 1},
    "task": "classify",
}


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureBroker]:
    with SecureBroker(tmp_path) as broker:
        yield broker


def test_a_study_through_tls(secure: SecureBroker, tmp_path: Path) -> None:
    """A study is done over TLS by an ACL user, and no process has the password on its command line."""
    with ExitStack() as stack:
        place = Place(tmp_path, f"sqlite:///{tmp_path / 'study.db'}", secure.url_with(ca=secure.ca), stack)
        daemon = place.ready()
        worker = place.start(place.worker, "worker")
        with Client(place.url, TOKEN) as client:
            study = client.submit(Study.parse(STUDY))
            client.wait(study, timeout_s=120)
            check_reports(client, study, trials=3)
        for process in (daemon, worker):
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            assert not [line for p in family for line in p.cmdline() if "p%40ss" in line]
        assert (end(worker), end(daemon)) == (0, 0)
        for log in ("serve", "worker"):
            said = place.log(log).read_text()
            assert "insecure" not in said
            assert "p%40ss" not in said
            assert PASSWORD not in said


def test_who_is_not_trusted_is_told(secure: SecureBroker, tmp_path: Path) -> None:
    """A wrong password, and a certificate that nobody here vouches for: one line with the remedy and code 4, without
    the password, from the daemon and from a worker."""
    wrong, unknown = secure.url_with("wr0ng:pass", secure.ca), secure.url_with()
    with ExitStack() as stack:
        place = Place(tmp_path, f"sqlite:///{tmp_path / 'study.db'}", "", stack)
        for broker, command, what in (
            (wrong, "serve", "give user and password in the URL"),
            (wrong, "worker", "credentials"),
            (unknown, "serve", "ssl_ca_certs="),
            (unknown, "worker", "ssl_ca_certs="),
        ):
            environ = (place.daemon if command == "serve" else place.worker) | {"SEARCHD_BROKER": broker}
            code, said = place.refusal(environ, command)
            assert code == 4, said
            assert what in said
            assert not any(secret in said for secret in ("wr0ng", "p%40ss", PASSWORD)), said


def test_what_the_url_says_of_tls_is_looked_at_first(secure: SecureBroker, tmp_path: Path) -> None:
    """Another authority, a file that is not there and an option that nobody knows are told apart, on both sides."""
    stranger = secure.url_with(ca=authority(tmp_path, "stranger"))
    with pytest.raises(Unreachable, match="ssl_ca_certs=/path"):
        open_transport(stranger).ping()
    for open_ in (open_transport, connect):
        with pytest.raises(Refused, match=r"nowhere\.pem in the broker's URL is no file"):
            open_(secure.url_with(ca=tmp_path / "nowhere.pem"))
        with pytest.raises(Refused, match="ssl_bogus"):
            open_(f"{secure.url_with(ca=secure.ca)}&ssl_bogus=1")


def test_celery_does_not_trust_a_stranger(secure: SecureBroker) -> None:
    """kombu takes any certificate unless it is told not to: a dispatch to a server that nobody vouches for is not
    sent."""
    trusting = CeleryDispatcher(secure.url_with(ca=secure.ca))
    careful = CeleryDispatcher(secure.url_with().removesuffix("0") + "1")  # kombu shares connections to one database
    dispatch = Dispatch(id="d1", jobs=())
    trusting.publish(dispatch, "cpu")
    with pytest.raises(Unreachable, match="certificate verify failed") as told:
        careful.publish(dispatch, "cpu")
    assert "p%40ss" not in str(told.value)
    with secure.client() as client:
        assert client.llen("searchd.cpu") == 1
    trusting.close()
    careful.close()
