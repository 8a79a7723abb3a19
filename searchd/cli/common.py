"""What the commands share: options, the client they talk through, output as text or JSON, errors as exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import click
from rich.console import Console

from searchd.client import Client
from searchd.errors import BadSetting, NotFound, SearchdError, SpaceError, StudyError, Unreachable

F = TypeVar("F", bound=Callable[..., Any])

FAILED, USAGE, NOT_FOUND, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 130
_CODES: tuple[tuple[type[SearchdError], int], ...] = (
    (StudyError, USAGE), (SpaceError, USAGE), (BadSetting, USAGE), (NotFound, NOT_FOUND), (Unreachable, UNREACHABLE),
)  # fmt: skip


class Failure(click.ClickException):
    """A SearchdError on its way out: its message on stderr (JSON when the command was asked for JSON), its code."""

    def __init__(self, error: SearchdError, *, as_json: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.as_json = as_json
        code = next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
        self.exit_code = code  # type: ignore[misc]  # click means instances to set it

    def show(self, file: IO[Any] | None = None) -> None:
        out = file or sys.stderr
        if self.as_json:
            click.echo(json.dumps(problems_of(self.error)), file=out)
            return
        many = isinstance(self.error, StudyError) and len(self.error.problems) > 1
        head = f"{len(cast(StudyError, self.error).problems)} problems:\n" if many else ""
        click.echo(click.style("error: ", fg="red", bold=True) + head + self.message, file=out)


def problems_of(error: SearchdError) -> dict[str, Any]:
    """An error as JSON: `{"error": ..., "problems": [{path, message, line, file}]}`."""
    found = error.problems if isinstance(error, StudyError) else ()
    return {
        "error": str(error),
        "problems": [{"path": p.path, "message": p.message, "line": p.line, "file": p.file} for p in found],
    }


# ---------------------------------------------------------------- options
def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    ctx.ensure_object(dict)["json"] = value
    return value


def json_option(function: F) -> F:
    """`--json`: the answer as JSON on stdout; passed as `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, callback=_remember, help="Answer in JSON.")
    return option(function)


def client_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--url`, `--token-file`, `--root`: where the studies are; the command gets a `client`."""

    @click.option("--url", help="A daemon; without it the folder --root is read.  [SEARCHD_URL]")
    @click.option("--token-file", type=click.Path(),
                  help="Holds the daemon's token.  [SEARCHD_TOKEN_FILE, or SEARCHD_TOKEN]")  # fmt: skip
    @click.option("--root", default=None, help="Folder of local studies.  [SEARCHD_ROOT, else out]")
    @wraps(function)
    def wrapped(*args: Any, url: str | None, token_file: str | None, root: str | None, **kwargs: Any) -> Any:
        from searchd.settings import load_settings

        token = load_settings("token", token_file=token_file).secret if token_file else None
        with Client(url if root is None else None, token, root) as client:
            return function(*args, client=client, **kwargs)

    return wrapped


def _studies(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names for the shell's completion: quick, silent, of this folder only."""
    root = Path(os.environ.get("SEARCHD_ROOT") or "out")
    return [p.parent.name for p in sorted(root.glob("*/study.db")) if p.parent.name.startswith(incomplete)]


def study_argument(function: F) -> F:
    return click.argument("study", shell_complete=_studies)(function)


# ---------------------------------------------------------------- output
def console(*, stderr: bool = False) -> Console:
    """A console that does not cut tables when its output goes to a file or a pipe."""
    made = Console(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, width=int(os.environ.get("COLUMNS", "200")), soft_wrap=False)
    return made


def emit(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


def emit_line(value: Any) -> None:
    """One JSON document on one line, at once: for feeds."""
    click.echo(json.dumps(value))
    sys.stdout.flush()
