"""The command line: `searchd COMMAND`. Commands load when they are called, so that `searchd --help` is quick.

Exit codes: 0 fine · 1 the study or the command failed · 2 wrong usage or a bad study · 3 not found ·
4 unreachable (daemon, broker, database) · 130 interrupted.
"""

from __future__ import annotations

import os
from importlib import import_module

import click

from searchd.cli.common import Failure
from searchd.errors import Missing, SearchdError

OURS = frozenset({"searchd", "spaces", "kernels", "workers", "ui"})
_COMMANDS: dict[str, str] = {
    "validate": "files", "plan": "files", "simulate": "simulate", "run": "run",
    "serve": "serve", "worker": "serve", "ui": "serve",
    "submit": "studies", "list": "studies", "show": "studies", "watch": "studies", "front": "studies",
    "trials": "studies", "log": "studies", "workers": "fleet", "logs": "fleet", "priority": "fleet",
    "ri": "relative", "proxies": "proxies",
    "compare": "compare", "deepen": "deepen", "device": "device", "token": "token",
    "pause": "change", "resume": "change", "stop": "change", "inject": "change",
    "rebase": "change", "gc": "garbage",
    "export": "take", "replay": "take", "verify": "verify",
    "doctor": "doctor", "completion": "doctor",
}  # fmt: skip
_SECTIONS: dict[str, tuple[str, ...]] = {
    "One study on this machine": ("validate", "plan", "simulate", "run"),
    "Look": ("list", "show", "watch", "front", "trials", "compare", "log", "logs", "workers", "ri", "proxies"),
    "Change": ("submit", "pause", "resume", "stop", "inject", "priority", "deepen", "rebase", "gc"),
    "Take away": ("export", "verify", "replay"),
    "A service": ("serve", "worker", "device", "token", "ui"),
    "Help": ("doctor", "completion"),
}


class Commands(click.Group):
    """Loads a command's module when it is called; turns every SearchdError into a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for names in _SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        home = _COMMANDS.get(cmd_name)
        if home is None:
            return None
        command = getattr(import_module(f"searchd.cli.{home}"), f"{cmd_name}_command")
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
            from difflib import get_close_matches

            near = get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean `searchd {near[0]}`?" if near else "`searchd --help` lists the commands"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _SECTIONS.items():
            commands = [(n, self.get_command(ctx, n)) for n in names]
            with formatter.section(title):
                formatter.write_dl([(n, c.get_short_help_str(limit=90)) for n, c in commands if c is not None])

    def invoke(self, ctx: click.Context) -> object:
        ctx.ensure_object(dict)
        try:
            return super().invoke(ctx)
        except SearchdError as error:
            raise Failure(error, as_json=bool(ctx.obj.get("json"))) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in OURS:
                raise
            missing = Missing(f"this command needs {error.name}: pip install 'searchd[local]'")
            raise Failure(missing, as_json=bool(ctx.obj.get("json"))) from error
        except Exception as error:
            if os.environ.get("SEARCHD_DEBUG"):
                raise
            bug = SearchdError(f"a bug in searchd, please report it: {type(error).__name__}: {error} "
                               "(SEARCHD_DEBUG=1 shows where)")  # fmt: skip
            raise Failure(bug, as_json=bool(ctx.obj.get("json"))) from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="searchd", message="searchd %(version)s")
def main() -> None:
    """A study in YAML in, a Pareto front of deployable models out.

    \b
    Start with:   searchd run examples/digits.yaml
    Then:         searchd front digits     searchd ui

    STUDY is a name, an id or a folder. Without --url (or SEARCHD_URL) the folder ./out is read. Every command has
    --json. Exit codes: 0 fine, 1 failed, 2 wrong usage or a bad study, 3 not found, 4 unreachable, 130 interrupted.
    """
