"""`gc`: removes checkpoints that can no longer be needed."""

from __future__ import annotations

import click

from searchd.cli.common import client_options, emit, json_option, study_argument
from searchd.client import Client
from searchd.words import size


@click.command("gc")
@study_argument
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--final", is_flag=True, help="The study is never deepened or extended: only the front keeps its own.")
@json_option
@client_options
def gc_command(study: str, dry_run: bool, final: bool, client: Client, as_json: bool) -> None:
    """Remove checkpoints that can no longer be needed: superseded ones, and those of stopped and failed trials.

    Kept are those of the front, of trials that can go on, and of what runs now. A daemon does this by itself.
    """
    found = client.gc(study, dry_run=dry_run, final=final)
    if as_json:
        emit(found)
        return
    how = "can go" if dry_run else "removed"
    click.echo(
        f"{study}: {found['files']} checkpoint files, {size(found['bytes'])}, {how} ({found['why']['superseded']} "
        f"superseded, {found['why']['ended']} of trials that have ended); {found['kept_files']} files, "
        f"{size(found['kept_bytes'])}, stay"
    )
