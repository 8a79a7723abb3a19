"""`verify`: an exported model on this machine: are its files whole, what does it err, how fast is it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import FAILED, console, emit, json_option
from searchd.errors import Missing, NotFound, Refused, SearchdError

KINDS: Mapping[str, type[SearchdError]] = {"NotFound": NotFound, "Refused": Refused, "Missing": Missing}


@click.command("verify")
@click.argument("folder", type=click.Path())
@click.option("--data", type=click.Path(), help="The data (or text) file, where it lies elsewhere on this machine.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="Times that each latency is measured; the median counts.")  # fmt: skip
@click.option("--within", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, metavar="PERCENT",
              help="What a latency may be off, or the spread of the repeats where that is more.")  # fmt: skip
@click.option("--exact", is_flag=True, help="Files and errors only, no latencies.")
@json_option
def verify_command(
    folder: str, data: str | None, repeats: int, within: float, exact: bool, as_json: bool
) -> None:  # fmt: skip
    """Measure an exported model again, from the files in FOLDER alone.

    Files are compared with their SHA-256, errors are computed by the model file and have to be equal, latencies are
    taken anew. Exit code 1 when something is not as recorded; latencies of another device or runtime are only shown.
    """
    found = ask_worker(folder, data, repeats, within / 100, exact)
    rows = [m for e in found["exports"] for p in e["points"] for m in p["metrics"]]
    if as_json:
        emit(found)
    else:
        show(console(), found)
    if any(m["same"] is False for m in rows):
        raise click.exceptions.Exit(FAILED)


def ask_worker(folder: str, data: str | None, repeats: int, within: float, exact: bool) -> dict[str, Any]:
    """What `workers.verify` answers, in a process of its own: this one has no model runtime."""
    argv = [sys.executable, "-P", "-m", "workers.verify", str(Path(folder)), "--repeats", str(repeats)]
    argv += ["--within", str(within), *(["--data", data] if data else []), *(["--exact"] if exact else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:] or [""]
    try:
        answer: dict[str, Any] = json.loads(last[0])
    except ValueError:
        said = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
        if "ModuleNotFoundError" in said:
            raise Missing(f"a model is measured by what a worker has ({said}): pip install 'searchd[worker]'") from None
        raise SearchdError(f"the measuring process ended: {said}") from None
    if "error" in answer:
        raise KINDS.get(answer["kind"], SearchdError)(answer["error"])
    return answer


def show(out: Console, found: Mapping[str, Any]) -> None:
    """A table an export, and in words what of it is as recorded."""
    for export in found["exports"]:
        files = words.count(export["files"], "file")
        out.print(f"[bold]{export['card']}[/]  {export['task']}, trial {export['trial']} of {export['study']}: "
                  f"{files} whole")  # fmt: skip
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("point", "metric", "recorded", "here", ""):
            table.add_column(name, justify="left" if name in ("metric", "") else "right")
        for point in export["points"]:
            for m in point["metrics"]:
                table.add_row(str(point["point"]), m["metric"], _said(m["metric"], m["recorded"]),
                              _said(m["metric"], m["again"]), _verdict(m))  # fmt: skip
        out.print(table)
        if export["slow"]:
            out.print(f"this machine ran at {export['pace']:.0%} of its full speed when latencies were recorded, at "
                      f"{found['pace']:.0%} now: those off are not judged; measure again when it is less busy")
        if not export["comparable"]:
            by = "" if export["runtime"] == "onnxruntime" else f" by {export['runtime']}"
            there = export["recorded_on"]
            out.print(f"latencies were recorded{by} on {there}, and are those of {found['device']} here")
        out.print()


def _said(metric: str, value: float) -> str:
    return f"{1000 * value:.4g} µs" if metric.endswith("_ms") and value < 1 else f"{value:.6g}"


def _verdict(m: Mapping[str, Any]) -> Text:
    if m["exact"]:
        return Text("equal") if m["same"] else Text("differs", style="red")
    said = f"{m['off']:+.1%}, repeats lie {m['spread']:.1%} apart"
    return Text(said, style="" if m["same"] else "red" if m["same"] is False else "dim")
