"""`serve`, `worker`, `ui`: the parts of a service, each in its own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from searchd.cli.common import console, emit_line, json_option
from searchd.errors import Missing, Refused
from searchd.settings import is_loopback, load_settings

PAGE_PORT = 8701


@click.command("serve")
@click.option("--local", is_flag=True, help="Everything on this machine: broker, daemon, workers and the page.")
@click.option("--database", metavar="URL", help="[SEARCHD_DATABASE]")
@click.option("--broker", metavar="URL", help="redis://...  [SEARCHD_BROKER]")
@click.option("--artifacts", metavar="DIR", help="[SEARCHD_ARTIFACTS, else out]")
@click.option("--host", help="[SEARCHD_HOST, else 127.0.0.1]")
@click.option("--port", type=int, help="[SEARCHD_PORT, else 8700]")
@click.option("--token-file", type=click.Path(),
              help="Needed beyond this machine.  [SEARCHD_TOKEN_FILE, or SEARCHD_TOKEN]")  # fmt: skip
@click.option("--log-format", type=click.Choice(["text", "json"]), help="[SEARCHD_LOG_FORMAT, else text]")
@click.option("--root", default="out", show_default=True, help="With --local: the folder of everything.")
@click.option("--slots", type=click.IntRange(0, 64), default=2, show_default=True, help="With --local: workers.")
@click.option("--device", default="cpu", show_default=True, help="With --local: the workers' device.")
@click.option("--allow", multiple=True, metavar="MODULE:FUNCTION", help="With --local: functions that workers may run.")
@click.option("--page-port", default=PAGE_PORT, show_default=True, help="With --local: where the page listens.")
@click.option("--no-page", is_flag=True, help="With --local: without the page.")
@json_option
def serve_command(
    local: bool, database: str | None, broker: str | None, artifacts: str | None, host: str | None, port: int | None,
    token_file: str | None, log_format: str | None, root: str, slots: int, device: str, allow: tuple[str, ...],
    page_port: int, no_page: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the daemon over a database and a broker given as URLs, or everything on this machine with --local."""
    if log_format:
        os.environ["SEARCHD_LOG_FORMAT"] = log_format  # of what is started from here
    if local:
        at = load_settings("host", "port", host=host, port=port)
        if not is_loopback(at.host):
            raise Refused(
                f"--local listens on this machine only, not on {at.host!r}; a service for others is `searchd serve` "
                "with --database, --broker and --token-file"
            )
        _local(root, at.host, at.port, None if no_page else page_port, slots, device, list(allow), as_json)
        return
    at = load_settings("database", "broker", "artifacts", "host", "port", "token", token_file=token_file,
                       database=database, broker=broker, artifacts=artifacts, host=host, port=port)  # fmt: skip
    missing = [flag for flag, value in (("--database", at.database), ("--broker", at.broker)) if value is None]
    if missing:
        raise click.UsageError(f"{' and '.join(missing)} missing: give the URL, or use --local for this machine")
    at.may_listen()
    argv = [sys.executable, "-P", "-m", "searchd.daemon", "--artifacts", at.artifacts, "--host", at.host]
    argv += ["--port", str(at.port), *(["--token-file", token_file] if token_file else [])]
    _become(argv, as_json, {"url": f"http://{at.host}:{at.port}"}, database=at.database, broker=at.broker)


def _local(
    root: str, host: str, port: int, page_port: int | None, slots: int, device: str, allow: list[str], as_json: bool
) -> None:
    from searchd.service import Addresses, serve_local

    out = console(stderr=as_json)

    def ready(at: Addresses) -> None:
        if as_json:
            emit_line({"url": at.api, "page": at.page, "token_file": at.token_file, "broker": at.broker})
            return
        if at.page:
            out.print(f"page    {at.page}")
        out.print(f"api     {at.api}/docs   (token in {at.token_file})")
        out.print(f"broker  {at.broker}")
        where = "" if Path(root) == Path("out") else f" --root {root}"
        out.print(f"{slots} workers. Next: searchd submit FILE{where}. Ctrl-C ends everything.", style="dim")

    serve_local(root=root, host=host, port=port, page_port=page_port, slots=slots, device=device, allow=allow,
                tell=out.print, ready=ready)  # fmt: skip


@click.command("worker")
@click.option("--broker", metavar="URL", help="redis://...  [SEARCHD_BROKER]")
@click.option("--slots", type=click.IntRange(1, 256), default=1, show_default=True, help="Jobs at a time.")
@click.option("--device", default="cpu", show_default=True, help="Device class: cpu, cuda, or a name of yours.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="What studies may need: `needs: {rack: 3}`.")
@click.option("--share", is_flag=True, help="All slots on one device: jobs begin where their memory fits.")
@click.option("--memory", type=click.IntRange(1), metavar="MB",
              help="What a job may hold on a CPU, all together where they --share.  [what there is]")  # fmt: skip
@click.option("--name", help="Name of this worker.  [host and pid]")
@click.option("--artifacts", metavar="DIR",
              help="The folder that jobs may write in.  [SEARCHD_ARTIFACTS, else where the daemon says]")  # fmt: skip
@click.option("--allow", multiple=True, envvar="SEARCHD_ALLOW", metavar="MODULE:FUNCTION",
              help="A function that studies may name, or module.*  [SEARCHD_ALLOW, spaces between]")  # fmt: skip
@click.option("--path", multiple=True, metavar="DIR", help="Where those modules are.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="[SEARCHD_LOG_FORMAT, else text]")
@click.option("--keep-mb", type=click.IntRange(min=0), metavar="MB",
              help="Memory of a slot for checkpoints of trials that may go on in it.  [512]")  # fmt: skip
@json_option
def worker_command(
    broker: str | None, slots: int, device: str, name: str | None, artifacts: str | None, allow: tuple[str, ...],
    path: tuple[str, ...], log_format: str | None, keep_mb: int | None, label: tuple[str, ...], share: bool,
    memory: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Work for a daemon on this machine's device, until SIGTERM."""
    _needs("celery", "worker")
    at = load_settings("broker", broker=broker)
    if at.broker is None:
        raise click.UsageError("--broker missing: give the URL that the daemon has, or set SEARCHD_BROKER")
    argv = [sys.executable, "-P", "-m", "workers", "--slots", str(slots), "--device", device]
    argv += ["--name", name] if name else []
    argv += ["--artifacts", artifacts] if artifacts else []
    argv += ["--keep-mb", str(keep_mb)] if keep_mb is not None else []
    argv += ["--log-format", log_format] if log_format else []
    argv += ["--share"] if share else []
    argv += ["--memory", str(memory)] if memory is not None else []
    for said in label:
        argv += ["--label", said]
    for function in allow:
        argv += ["--allow", function]
    for folder in path:
        argv += ["--path", folder]
    _become(argv, as_json, {"slots": slots, "device": device}, broker=at.broker)


@click.command("ui")
@click.option("--root", help="Show this folder.  [SEARCHD_ROOT, else out]")
@click.option("--url", help="Show the studies of this daemon.  [SEARCHD_URL]")
@click.option("--token-file", type=click.Path(),
              help="Holds the daemon's token.  [SEARCHD_TOKEN_FILE, or SEARCHD_TOKEN]")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=PAGE_PORT, show_default=True)
@json_option
def ui_command(
    root: str | None, url: str | None, token_file: str | None, host: str, port: int, as_json: bool
) -> None:
    """The page: studies, the front as it grows, curves, rungs, the decision log."""
    from searchd.service import page_argv

    if root is not None:
        os.environ["SEARCHD_ROOT"] = str(Path(root).resolve())
        os.environ.pop("SEARCHD_URL", None)
    else:
        url = load_settings("url", "token", url=url, token_file=token_file).url
        if token_file:
            os.environ["SEARCHD_TOKEN_FILE"] = token_file
            os.environ.pop("SEARCHD_TOKEN", None)
    if not as_json:
        click.echo(f"http://{host}:{port}   Ctrl-C ends it", err=True)
    _become(page_argv(host, port), as_json, {"url": f"http://{host}:{port}"}, url=url if root is None else None)


def _become(argv: list[str], as_json: bool, told: dict[str, object], **settings: str | None) -> NoReturn:
    """Turn into another program: signals and exit code are then its own.

    `settings` go down in the environment: a URL may hold a password, and everybody can see command lines.
    """
    os.environ.update({f"SEARCHD_{name.upper()}": value for name, value in settings.items() if value is not None})
    if as_json:
        emit_line(told | {"pid": os.getpid(), "argv": argv})
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(argv[0], argv)


def _needs(module: str, extra: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise Missing(f"this needs {module}: pip install 'searchd[{extra}]'")
