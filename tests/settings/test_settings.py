"""Settings: the environment, what goes before it, and errors that name the variable and never a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from searchd.errors import BadSetting, Refused, SearchdError
from searchd.settings import Settings, is_loopback, load_settings


def test_without_anything_it_is_this_machine() -> None:
    """The defaults are artifacts under out/ and loopback only; a database, a broker or a daemon is never guessed."""
    found = load_settings(environ={})
    assert (found.artifacts, found.host, found.port) == ("out", "127.0.0.1", 8700)
    assert (found.database, found.broker, found.secret, found.url) == (None, None, None, None)
    found.may_listen()


def test_the_environment_is_read_and_what_is_given_goes_first() -> None:
    """Every variable has its setting; empty ones are unset; keyword arguments that are not None win."""
    environ = {
        "SEARCHD_DATABASE": "postgresql://h/db", "SEARCHD_BROKER": "unix:///run/r.sock", "SEARCHD_ARTIFACTS": " /data ",
        "SEARCHD_HOST": "0.0.0.0", "SEARCHD_PORT": "9000", "SEARCHD_TOKEN": "abc", "SEARCHD_URL": "http://h:1/",
        "SEARCHD_OTHER": "ignored", "PATH": "/bin", "SEARCHD_RATE": "5", "SEARCHD_STUDIES": "3",
        "SEARCHD_LOG_FORMAT": "json", "SEARCHD_WEBHOOK": "https://h/x", "SEARCHD_WEBHOOK_ON": "done, faulted",
        "SEARCHD_PAGE_TOKEN_FILE": "/page/token",
    }  # fmt: skip
    found = load_settings(environ=environ)
    assert found.model_dump(exclude={"token", "webhook_secret"}) == {
        "database": "postgresql://h/db", "broker": "unix:///run/r.sock", "artifacts": "/data", "host": "0.0.0.0",
        "port": 9000, "url": "http://h:1", "rate": 5.0, "studies": 3, "log_format": "json", "webhook": "https://h/x",
        "webhook_on": "done,faulted", "page_token_file": "/page/token",
    }  # fmt: skip
    assert found.secret == "abc"
    given = load_settings(environ=environ, port=1, host=None, database="x.db")
    assert (given.port, given.host, given.database) == (1, "0.0.0.0", "x.db")
    assert load_settings(environ={"SEARCHD_PORT": "", "SEARCHD_TOKEN": " "}) == Settings()


def test_a_token_from_a_file(tmp_path: Path) -> None:
    """A secret's file is read and stripped; an option goes before the environment; both variables are refused."""
    file, nowhere = tmp_path / "token", str(tmp_path / "nowhere")
    file.write_text("s3cret\n")
    assert load_settings(environ={"SEARCHD_TOKEN_FILE": str(file)}).secret == "s3cret"
    assert load_settings(environ={}, token_file=str(file)).secret == "s3cret"
    assert load_settings(environ={"SEARCHD_TOKEN_FILE": nowhere}, token="given").secret == "given"
    both = {"SEARCHD_TOKEN_FILE": nowhere, "SEARCHD_TOKEN": "x"}
    assert load_settings(environ=both, token_file=str(file)).secret == "s3cret"
    with pytest.raises(BadSetting, match="no-such-file cannot be read"):
        load_settings(environ={}, token_file="no-such-file")
    with pytest.raises(SearchdError, match="both set"):
        load_settings(environ={"SEARCHD_TOKEN_FILE": str(file), "SEARCHD_TOKEN": "x"})
    with pytest.raises(SearchdError, match=r"SEARCHD_TOKEN_FILE .*nowhere cannot be read \(No such file"):
        load_settings(environ={"SEARCHD_TOKEN_FILE": nowhere})
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SearchdError, match="not text"):
        load_settings(environ={"SEARCHD_TOKEN_FILE": str(file)})


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    """Not in a repr, nor in an error about it or about something else."""
    assert "s3cret" not in repr(load_settings(environ={"SEARCHD_TOKEN": "s3cret"}))
    file = tmp_path / "token"
    for bad in ("s3cret with spaces", "s3crét", "s3cret\nsecond"):
        file.write_text(bad)
        for environ in ({"SEARCHD_TOKEN": bad}, {"SEARCHD_TOKEN_FILE": str(file)}):
            with pytest.raises(SearchdError, match=r"SEARCHD_TOKEN(_FILE .*token)?: a token is ASCII") as e:
                load_settings(environ=environ)
            assert "s3cr" not in str(e.value)
    file.write_text("\n")
    with pytest.raises(SearchdError, match=r"SEARCHD_TOKEN_FILE .*token: a token is ASCII.* and not empty"):
        load_settings(environ={"SEARCHD_TOKEN_FILE": str(file)})


def test_every_bad_variable_is_told_at_once() -> None:
    """One line each, with the value and the rule."""
    with pytest.raises(SearchdError) as e:
        load_settings(environ={"SEARCHD_PORT": "many", "SEARCHD_BROKER": "amqp://h", "SEARCHD_URL": "h:1"})
    lines = str(e.value).splitlines()
    assert len(lines) == 3
    assert any(line.startswith("SEARCHD_PORT = 'many': ") for line in lines)
    assert any(line.startswith("SEARCHD_BROKER = 'amqp://h': ") and "unix://" in line for line in lines)
    assert any(line.startswith("SEARCHD_URL = 'h:1': ") for line in lines)
    with pytest.raises(BadSetting, match=r"^port = 70000"):
        load_settings(environ={}, port=70000)
    with pytest.raises(SearchdError, match="prot: there is no such setting; there are database, broker"):
        load_settings(environ={}, prot=1)


def test_only_what_is_needed_is_read() -> None:
    """A bad variable of another part stops nobody; what is given goes before a bad variable too."""
    environ = {"SEARCHD_PORT": "many", "SEARCHD_URL": "h:1", "SEARCHD_TOKEN_FILE": "/nowhere", "SEARCHD_HOST": "h"}
    found = load_settings("host", "url", environ=environ, url="http://h:2")
    assert (found.host, found.url, found.port, found.secret) == ("h", "http://h:2", 8700, None)


def test_a_password_in_a_bad_url_is_not_shown() -> None:
    """The value of a broker or database variable is repeated without its password."""
    with pytest.raises(SearchdError) as e:
        load_settings(environ={"SEARCHD_BROKER": "amqp://me:s3cret@h"})
    assert "s3cret" not in str(e.value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False),
     ("::", False), ("192.168.1.2", False), ("example.org", False), ("localhost.example.org", False), ("", False)],
)  # fmt: skip
def test_beyond_this_machine_a_token_is_needed(host: str, loopback: bool) -> None:
    """Without a token the daemon may listen on loopback only; with one anywhere."""
    assert is_loopback(host) is loopback
    if not host:
        return
    if loopback:
        load_settings(environ={}, host=host).may_listen()
    else:
        with pytest.raises(Refused, match="SEARCHD_TOKEN"):
            load_settings(environ={}, host=host).may_listen()
    load_settings(environ={}, host=host, token="t").may_listen()


def test_settings_are_frozen() -> None:
    """A setting cannot be changed once read."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]
