"""The door: scopes, limits, hostile bodies and headers, by the real application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from searchd.errors import Forbidden, Refused, TooMany
from searchd.http.door import OPEN, needed
from searchd.http.limits import MOST_CALLERS, Buckets, Feeds, Limits
from searchd.store import open_store
from searchd.store.base import Store
from searchd.tokens import Keys, digest
from tests.support.app import URL, Asgi, Service, asking, reading_app
from tests.support.study_db import Written, write_study

OWN = "own-token-0123456789abcdef"


class Ticks:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    yield made
    made.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    study = write_study(tmp_path_factory.mktemp("door") / "digits", trials=6)
    yield study
    study.close()


# ---------------------------------------------------------------- scopes
WANTED = {
    None: {"GET /healthz", "GET /readyz"},
    "submit": {
        "POST /v1/studies", *(f"POST /v1/studies/{{study}}/{verb}" for verb in (
            "pause", "resume", "stop", "inject", "extend", "deepen", "priority", "trials/{n}/stop")),
    },
    "admin": {
        "POST /v1/studies/{study}/rebase", "POST /v1/studies/{study}/gc", "POST /v1/devices",
        "POST /v1/devices/{name}/profile",
        "DELETE /v1/devices/{name}", "GET /v1/tokens", "POST /v1/tokens", "DELETE /v1/tokens/{name}",
    },
}  # fmt: skip


def routes(router: Any) -> Iterator[tuple[str, str]]:
    for path, methods in router.openapi()["paths"].items():
        for method in methods:
            yield method.upper(), path


def test_every_route_has_the_scope_that_the_table_says(written: Written) -> None:
    """What changes studies needs submit, what changes the service admin, everything else below /v1 read."""
    found: dict[str | None, set[str]] = {}
    for method, path in routes(reading_app(written.store)):
        for name in ("x", "tokens", "pause", "1"):
            filled = path.replace("{study}", name).replace("{n}", "1").replace("{name}", name).replace("{path}", "a/b")
            found.setdefault(needed(method, filled), set()).add(f"{method} {path}")
    assert {scope: found[scope] for scope in WANTED} == WANTED
    assert all(route.startswith("GET ") for route in found["read"])


def test_what_no_rule_names_needs_admin() -> None:
    """A route that somebody adds later is closed until it is opened here."""
    for method, path in (("PUT", "/v1/studies"), ("POST", "/v1/new"), ("DELETE", "/v1/studies/x"), ("GET", "/new"),
                         ("POST", "/v1/studies/x/pause/y"), ("POST", "/metrics"), ("GET", "/v1/tokens/x")):  # fmt: skip
        assert needed(method, path) == "admin", (method, path)
    assert {needed("GET", path) for path in OPEN} == {None}


def test_each_scope_holds_those_before_it(tmp_path: Path) -> None:
    """read looks, submit changes studies too, admin everything; 403 says which scope is needed, 401: nobody."""
    with Service(tmp_path, OWN) as service, asking(service.app, OWN) as own:
        secrets = {s: own.post("/v1/tokens", json={"name": s, "scope": s}).json()["token"] for s in
                   ("read", "submit", "admin")}  # fmt: skip
        asked = [("GET", "/v1/studies", "read"), ("POST", "/v1/studies/none/pause", "submit"),
                 ("DELETE", "/v1/devices/none", "admin"), ("GET", "/v1/tokens", "admin")]  # fmt: skip
        order = ["read", "submit", "admin"]
        for scope, secret in secrets.items():
            with asking(service.app, secret) as http:
                assert http.get("/v1/me").json() == {"name": scope, "scope": scope}
                for method, path, wanted in asked:
                    answer = http.request(method, path)
                    if order.index(scope) >= order.index(wanted):
                        assert answer.status_code in {200, 404}, (scope, path, answer.text)
                    else:
                        assert answer.status_code == 403, (scope, path)
                        assert f"'{scope}' has the scope {scope}, and this needs {wanted}" in answer.json()["error"]
        for http in (asking(service.app), asking(service.app, "wrong"), asking(service.app, digest(secrets["read"]))):
            answer = http.get("/v1/studies")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            http.close()


def test_a_token_holds_at_once_and_never_again_once_it_is_removed_or_over(tmp_path: Path) -> None:
    """No restart: made, it is taken; removed or expired, it is not; and after a restart it is what it was."""
    with Service(tmp_path, OWN) as service:
        client = service.client
        made = client.add_token("page", "read")
        with asking(service.app, made["token"]) as http:
            assert http.get("/v1/studies").status_code == 200
            with pytest.raises(Refused, match="already"):
                client.add_token("page", "admin")
            client.remove_token("page")
            assert http.get("/v1/studies").status_code == 401
        kept = client.add_token("kept", "submit")["token"]
    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    try:
        keys = Keys(store, OWN, Ticks())
        found = keys.caller(kept, 0.0)
        assert found is not None
        assert (found.name, found.scope) == ("kept", "submit")
        _, short = keys.add("short", "read", 60.0, 1000.0)
        assert keys.caller(short, 1059.0) is not None
        assert keys.caller(short, 1060.0) is None
        keys.add("short", "admin", None, 1061.0)  # the name of one that is over may be taken
        assert keys.caller(short, 1062.0) is None
    finally:
        store.close()


def test_no_secret_is_kept(tmp_path: Path) -> None:
    """Neither the daemon's token nor a minted one is in a byte of the database; the list has no hash either."""
    with Service(tmp_path, OWN) as service:
        secret = service.client.add_token("page", "read")["token"]
        assert secret.startswith("sd_")
        assert len(secret) == 46
        listed = service.client.tokens()
        assert [sorted(row) for row in listed] == [["created", "expired", "expires", "name", "scope"]]
        kept = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p.is_file())
        assert digest(secret).encode() in kept
        assert secret.encode() not in kept
        assert OWN.encode() not in kept


def test_a_daemon_without_a_token_makes_none(tmp_path: Path) -> None:
    """Everybody on this machine is admin there: a token would guard nothing, and the daemon says so."""
    with Service(tmp_path) as service:
        assert service.client.me()["scope"] == "admin"
        with pytest.raises(Refused, match="--token-file"):
            service.client.add_token("page", "read")


def test_all_that_the_page_asks_needs_read(written: Written) -> None:
    """The page works with a read token: every read of the client does, and a change is Forbidden, told as such."""
    from searchd.client import Client

    keys = Keys(written.store, OWN, Ticks())
    _, secret = keys.add("page", "read", None, 0.0)
    try:
        with Client(URL, secret, transport=Asgi(reading_app(written.store, token=OWN))) as client:
            study = client.studies()[0]["id"]
            for read in (client.show, client.spec, client.front, client.trials, client.curves, client.rungs,
                         client.log):
                assert read(study) is not None
            assert client.trial(study, 0)["trial"] == 0
            assert client.workers()
            assert client.devices() == []
            assert client.alive(study)
            with pytest.raises(Forbidden, match="needs submit"):
                client.pause(study)
            with pytest.raises(Forbidden, match="needs admin"):
                client.tokens()
    finally:
        keys.remove("page")


# ---------------------------------------------------------------- limits
def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    """`burst` at once, then `rate` a second, for each caller apart; callers that come and go are forgotten."""
    ticks = Ticks()
    bucket = Buckets(2.0, 3, ticks)
    assert [bucket.take("a") for _ in range(3)] == [0.0] * 3
    assert bucket.take("a") == 0.5
    assert bucket.take("b") == 0.0
    ticks.now += 0.5
    assert bucket.take("a") == 0.0
    assert bucket.take("a") > 0.0
    ticks.now += 100.0
    assert [bucket.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    for n in range(MOST_CALLERS + 10):
        bucket.take(f"c{n}")
    assert len(bucket._left) == MOST_CALLERS
    assert [Buckets(0.0, 1, ticks).take("a") for _ in range(5)] == [0.0] * 5


def test_who_asks_too_much_is_told_to_wait(store: Store) -> None:
    """429 with Retry-After, by token and not by address: another token goes on; the SDK waits by itself."""
    ticks = Ticks()
    app = reading_app(store, token=OWN, limits=Limits(rate=1.0, burst=2), ticks=ticks)
    _, other = Keys(store, OWN, ticks).add("other", "read", None, 0.0)
    with asking(app, OWN) as http, asking(app, other) as second:
        assert [http.get("/v1/studies").status_code for _ in range(3)] == [200, 200, 429]
        refused = http.get("/v1/studies")
        assert refused.headers["retry-after"] == "1"
        assert "slow down" in refused.json()["error"]
        assert second.get("/v1/studies").status_code == 200
        ticks.now += 1.0
        assert http.get("/v1/studies").status_code == 200


def test_the_sdk_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 is waited out as it says, a few times; what is said to last is raised."""
    from searchd.remote import Remote

    slept: list[float] = []
    monkeypatch.setattr("searchd.remote.time.sleep", slept.append)
    left = {"n": 2, "after": "2"}

    def answer(request: httpx.Request) -> httpx.Response:
        left["n"] = int(left["n"]) - 1
        if int(left["n"]) < 0:
            return httpx.Response(200, json=[], request=request)
        body = {"error": "slow down", "problems": []}
        return httpx.Response(429, json=body, headers={"Retry-After": str(left["after"])}, request=request)

    remote = Remote(URL, transport=httpx.MockTransport(answer))
    assert remote.studies() == []
    assert slept == [2.0, 2.0]
    left.update(n=1, after="60")
    with pytest.raises(TooMany, match="slow down") as caught:
        remote.studies()
    assert (caught.value.retry_s, len(slept)) == (60.0, 2)
    remote.close()


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(store: Store) -> None:
    """An address that tries many tokens gets 429; whoever has a good one there still comes in."""
    app = reading_app(store, token=OWN, limits=Limits(wrong=0.1, wrong_burst=3), ticks=Ticks())
    codes = []
    for n in range(5):
        with asking(app, f"guess-{n}") as http:
            codes.append(http.get("/v1/studies").status_code)
    assert codes == [401, 401, 401, 429, 429]
    with asking(app, OWN) as http:
        assert http.get("/v1/studies").status_code == 200


def test_so_many_studies_at_a_time(tmp_path: Path) -> None:
    """The limit counts those that have not ended; the answer says what to do."""
    spec = {"study": "t", "space": {"x": {"float": [0, 1]}}, "objectives": {"loss": "minimize"},
            "search": {"scheduler": "asha", "searcher": "random", "R": 9}, "budget": {"trials": 1},
            "task": "a:b"}  # fmt: skip
    with Service(tmp_path, limits=Limits(studies=2)) as service, asking(service.app) as http:
        ids = [http.post("/v1/studies", json={"spec": spec}) for _ in range(3)]
        assert [answer.status_code for answer in ids] == [201, 201, 429]
        assert "stop one" in ids[2].json()["error"]


def test_feeds_are_counted_while_they_are_open() -> None:
    """A feed more than the limit is refused, of all and of one caller; a closed one makes room, once."""
    feeds = Feeds(Limits(feeds=3, feeds_each=2))
    leave = feeds.enter("a")
    feeds.enter("a")
    with pytest.raises(TooMany, match="2 of them yours"):
        feeds.enter("a")
    feeds.enter("b")
    with pytest.raises(TooMany, match="3 feeds are open"):
        feeds.enter("c")
    leave()
    leave()
    assert feeds.open == 2
    feeds.enter("c")


# ---------------------------------------------------------------- what comes in
DEEP = b'{"values": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"values": {"x": NaN}}', 400, "NaN is no JSON"),
        (b'{"values": {"x": ' + b"9" * 5000 + b"}}", 400, "5000 digits"),
        (b'{"values": {"x": "\\ud800"}}', 400, "half a surrogate"),
        (b'{"values": {"\\u0000": 1}}', 400, "NUL"),
        (DEEP, 400, "nested deeper"),
        (b"[" * 60 + b"]" * 60, 422, ""),
        (b"\xff", 400, "byte 0 is not UTF-8"),
        (b"{", 422, ""),
        (b"", 422, ""),
        (b"x" * ((1 << 20) + 1), 413, "1 MiB"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/studies", "/v1/studies/none/inject"])
def test_a_hostile_body_is_the_senders_mistake(written: Written, path: str, body: bytes, status: int,
                                               said: str) -> None:
    """Whatever comes as JSON: an answer of ours with a reason, never a 500, and no command."""
    with asking(reading_app(written.store), **{"Content-Type": "application/json"}) as http:
        answer = http.post(path, content=body)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["error"]


def test_a_body_without_an_end_is_cut_off(written: Written) -> None:
    """A body that says no length is refused at its first byte too many; one that does not come, after a while."""
    app = reading_app(written.store, limits=Limits(body=1000, body_s=0.05))
    seen = {"chunks": 0}

    async def ask(*messages: dict[str, Any]) -> int:
        waiting = list(messages)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if waiting:
                seen["chunks"] += 1
                return waiting.pop(0)
            await asyncio.sleep(60)
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/studies", "raw_path": b"/v1/studies", "root_path": "",
                 "query_string": b"", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
                 "scheme": "http", "server": ("127.0.0.1", 8700), "http_version": "1.1"}  # fmt: skip
        await app(scope, receive, send)
        return int(sent[0]["status"])

    part = {"type": "http.request", "body": b"x" * 400, "more_body": True}
    assert asyncio.run(ask(*[part] * 50)) == 413
    assert seen["chunks"] == 3
    assert asyncio.run(ask(part)) == 400


@pytest.mark.parametrize("path", ["/v1/studies/%00", "/v1/studies/x/trials/99999999999999999999999",
                                  "/v1/studies/x/log?after=-1", "/v1/studies/x/log?limit=1e9",
                                  "/v1/studies/x/curves?metric=%00", "/v1/studies/x/files/%00",
                                  "/v1/devices/%ed%a0%80", "/v1/studies/%ff%fe",
                                  "/v1/studies/" + "a" * 5000])  # fmt: skip
def test_a_hostile_address_is_the_senders_mistake(written: Written, path: str) -> None:
    """NULs, numbers that no column holds, bytes that are no text: 4xx."""
    with asking(reading_app(written.store)) as http:
        assert 400 <= http.get(path).status_code < 500
