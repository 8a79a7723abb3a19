"""`doctor` and `completion`: is everything here that is needed, and how the shell can help."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import click
from rich.table import Table
from rich.text import Text

from searchd.cli.common import FAILED, console, emit, json_option
from searchd.errors import SearchdError

State = Literal["ok", "absent", "broken"]
_STYLE = {"ok": "green", "absent": "yellow", "broken": "red"}
EXTRAS = {
    "server": ("alembic", "celery", "fastapi", "optuna", "redis", "sqlalchemy", "uvicorn"),
    "worker": ("celery", "onnx", "onnxruntime", "pytorch_optimizer", "safetensors", "sklearn", "torch"),
    "ui": ("matplotlib", "pandas", "plotly", "streamlit"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `absent`: an optional part that is not there; `broken`: what must work and does not."""

    name: str
    state: State
    detail: str


@click.command("doctor")
@click.option("--database", envvar="SEARCHD_DATABASE", metavar="URL", help="Look at this database too.")
@click.option("--broker", envvar="SEARCHD_BROKER", metavar="URL", help="Look at this broker too.")
@click.option("--root", default="out", show_default=True)
@json_option
def doctor_command(database: str | None, broker: str | None, root: str, as_json: bool) -> None:
    """Look at every part that searchd needs, and say how to mend what is not right. Exit code 1 if one is broken."""
    checks = list(_checks(database, broker, Path(root)))
    if as_json:
        emit([asdict(c) for c in checks])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for c in checks:
            table.add_row(Text(c.state, style=_STYLE[c.state]), c.name, Text(c.detail, style="dim"))
        console().print(table)
    if any(c.state == "broken" for c in checks):
        raise click.exceptions.Exit(FAILED)


def _checks(database: str | None, broker: str | None, root: Path) -> Iterator[Check]:
    right = sys.version_info >= (3, 11)
    yield Check("python", "ok" if right else "broken", f"{platform.python_version()}, 3.11 or newer is needed")
    yield Check("cpu", "ok", f"{os.cpu_count()} cores, {platform.machine()}")
    for name in ("spaces", "kernels"):
        yield _ours(name)
    for extra, modules in EXTRAS.items():
        lacking = [m for m in modules if find_spec(m) is None]
        detail = f"without {', '.join(lacking)}: pip install 'searchd[{extra}]'" if lacking else "installed"
        yield Check(f"extra {extra}", "absent" if lacking else "ok", detail)
    for package in ("torch", "onnxruntime"):
        if found := _version(package):
            yield Check(package, "ok", found)
    yield _try("embedded broker", _embedded)
    yield _writable(root)
    if database:
        yield _try("database", lambda: _database(database))
    if broker:
        yield _try("broker", lambda: _ping(broker))
    for port, what in ((8700, "HTTP"), (8701, "page")):
        yield _port(port, what)


def _ours(name: str) -> Check:
    """PyPI has other packages of these names: ours must be the ones that are found."""
    spec = find_spec(name)
    where = str(next(iter(spec.submodule_search_locations or []), "")) if spec else ""
    marker = {"spaces": "config.py", "kernels": "fake_quant"}[name]
    if where and (Path(where) / marker).exists():
        return Check(name, "ok", where)
    return Check(name, "broken", f"{where or 'not found'} is not ours: install searchd into an environment of its own")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _try(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look())
    except SearchdError as error:
        return Check(name, "broken", str(error).splitlines()[0])
    except ModuleNotFoundError as error:
        return Check(name, "absent", f"{error.name} is not installed: pip install 'searchd[server]'")


def _embedded() -> str:
    from searchd.broker import broker_program

    return broker_program()


def _database(url: str) -> str:
    from searchd.store import open_store

    store = open_store(url, readonly=True)
    try:
        with store.reading() as reader:
            return f"{len(reader.studies())} studies"
    finally:
        store.close()


def _ping(url: str) -> str:
    from searchd.transport.redis import RedisTransport

    transport = RedisTransport(url)
    transport.ping()
    return f"answers, {len(transport.workers())} worker slots"


def _writable(root: Path) -> Check:
    there = next((p for p in (root, *root.resolve().parents) if p.exists()), root)
    free = shutil.disk_usage(there).free / 1e9
    if not os.access(there, os.W_OK):
        return Check("folder", "broken", f"{there} is not writable; give another with --root or --out")
    return Check("folder", "ok" if free > 1 else "broken", f"{root}/ is writable, {free:.0f} GB free")


def _port(port: int, what: str) -> Check:
    with socket.socket() as s:
        s.settimeout(0.2)
        used = s.connect_ex(("127.0.0.1", port)) == 0
    detail = "in use, perhaps by searchd" if used else "free"
    return Check(f"port {port}", "absent" if used else "ok", f"{what}: {detail}")


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def completion_command(shell: str, as_json: bool) -> None:
    """Print the completion script of a shell: eval "$(searchd completion bash)"."""
    from click.shell_completion import get_completion_class

    from searchd.cli import main

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell!r}")
    script = kind(main, {}, "searchd", "_SEARCHD_COMPLETE").source()
    if as_json:
        emit({"shell": shell, "script": script})
    else:
        click.echo(script)
