"""`token`: who else may ask the daemon, and for what."""

from __future__ import annotations

import re
import time
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from searchd.cli.common import client_options, console, emit, json_option
from searchd.client import Client

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


class Span(click.ParamType):  # type: ignore[type-arg]
    """`30d`, `12h`, `90m`, `2w`: seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)([mhdw])", str(value), re.ASCII)
        if found is None or float(found[1]) <= 0:
            self.fail(f"{value!r} is no span of time: a number and m, h, d or w, such as 30d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.group("token")
def token_command() -> None:
    """Tokens with a scope, for others than whoever runs the daemon. They hold at once, without a restart."""


@token_command.command("add")
@click.argument("name")
@click.option("--scope", type=click.Choice(["read", "submit", "admin"]), required=True,
              help="read: look. submit: start, stop and change studies, too. admin: everything.")  # fmt: skip
@click.option("--expires", type=Span(), metavar="SPAN", help="30d, 12h, ...  [never]")
@json_option
@client_options
def add(name: str, scope: str, expires: float | None, client: Client, as_json: bool) -> None:
    """Make a token. Its secret is printed this once, on a line of its own on stdout; the daemon keeps a hash."""
    found = client.add_token(name, scope, expires)
    if as_json:
        emit(found)
        return
    until = "" if found["expires"] is None else f", until {_day(found['expires'])}"
    click.echo(f"{name}: {scope}{until}; keep what follows, it is not shown again", err=True)
    click.echo(found["token"])


@token_command.command("list")
@json_option
@client_options
def listed(client: Client, as_json: bool) -> None:
    """Every token but the daemon's own."""
    rows = client.tokens()
    if as_json:
        emit(rows)
        return
    if not rows:
        click.echo("no tokens but the daemon's own: `searchd token add NAME --scope read` makes one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("token", "scope", "made", "expires"):
        table.add_column(column)
    for row in rows:
        until = "never" if row["expires"] is None else _day(row["expires"])
        state = Text(f"{until} (expired)", style="yellow") if row["expired"] else Text(until)
        table.add_row(row["name"], row["scope"], _day(row["created"]), state)
    console().print(table)


@token_command.command("remove")
@click.argument("name")
@json_option
@client_options
def remove(name: str, client: Client, as_json: bool) -> None:
    """The token is none from now on."""
    client.remove_token(name)
    emit({"removed": name}) if as_json else click.echo(f"{name}: removed")


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
