"""`device`: what latencies are measured on: register, profile, show."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from searchd import words
from searchd.cli.common import client_options, console, emit, json_option
from searchd.client import Client

POLL_S = 0.5


@click.group("device")
def device_command() -> None:
    """Devices: register what workers measure on, profile it, and predict latency from the profile."""


@device_command.command("add")
@click.argument("name")
@click.option("--runtime", type=click.Choice(["onnxruntime", "torch", "torch-cuda"]),
              help="What measures there.  [onnxruntime on a CPU, torch-cuda on an accelerator]")  # fmt: skip
@json_option
@client_options
def add(name: str, runtime: str | None, client: Client, as_json: bool) -> None:
    """Register a device: the class that workers serve it under (cpu, cuda, a name of your own).

    With a daemon its live workers say what it is; without one this machine does.
    """
    root = client.local_root()
    if root is None:
        found = client.add_device(name, runtime)
    else:
        from searchd.local_devices import add_local

        found = add_local(root, name, runtime)
    if as_json:
        emit(found)
    else:
        click.echo(f"{found['name']}: {found['identity']}; next: searchd device profile {found['name']} STUDY")


@device_command.command("list")
@json_option
@client_options
def listed(client: Client, as_json: bool) -> None:
    """Every registered device."""
    rows = client.devices()
    if as_json:
        emit(rows)
        return
    if not rows:
        click.echo("no devices yet: `searchd device add NAME` registers one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("device", "what", "workers", "profile", "error", "tau", "state"):
        table.add_column(name)
    for d in rows:
        p = d["profile"]
        quality = {} if p is None else p["quality"]
        state = Text("stale", style="yellow") if p and p["stale"] else Text((d["profiling"] or {}).get("status") or "")
        live = "?" if d["workers"] is None else str(d["workers"])
        cells = [d["name"], d["identity"], live, "none" if p is None else p["study"]]
        table.add_row(*cells, _percent(quality.get("error")), _two(quality.get("tau")), state)
    console().print(table)


@device_command.command("show")
@click.argument("name")
@json_option
@client_options
def show(name: str, client: Client, as_json: bool) -> None:
    """One device: what it is, how good its profile is, whether that still holds."""
    found = client.device(name)
    emit(found) if as_json else tell(found)


@device_command.command("remove")
@click.argument("name")
@json_option
@client_options
def remove(name: str, client: Client, as_json: bool) -> None:
    """Forget a device and its profile."""
    root = client.local_root()
    if root is None:
        client.remove_device(name)
    else:
        from searchd.local_devices import remove_local

        remove_local(root, name)
    emit({"removed": name}) if as_json else click.echo(f"{name}: removed")


@device_command.command("profile")
@click.argument("name")
@click.argument("study")
@click.option("--architectures", type=click.IntRange(1, 100), help="Whole networks that are measured.  [80]")
@click.option("--serve", help="Without a daemon: what the device is, as `worker --device` takes it (rig=cuda:1).")
@json_option
@client_options
def profile(
    name: str, study: str, architectures: int | None, serve: str | None, client: Client, as_json: bool
) -> None:  # fmt: skip
    """Time the operators of STUDY (a file, or one that was run) alone on a device, and whole networks, at random.

    Says how well the table predicts networks that it has not seen. Needs the device to itself: it waits until nothing
    else runs there.
    """
    from spaces.study import Study

    spec = Study.load(study) if Path(study).is_file() else Study.parse(client.spec(study))
    root = client.local_root()
    if root is not None:
        from searchd.local_devices import profile_local

        quiet = console(stderr=True)
        found = profile_local(root, name, spec, architectures, lambda line: quiet.print(Text(line, style="dim")), serve)
    else:
        client.profile_device(name, spec, architectures)
        found = _waited(client, name)
    emit(found) if as_json else tell(found)


def _waited(client: Client, name: str) -> dict[str, Any]:
    from searchd.devices.shown import profiled

    while True:
        found = client.device(name)
        if profiled(found):
            return found
        time.sleep(POLL_S)


def tell(d: dict[str, Any]) -> None:
    """A device for a terminal."""
    out = console()
    out.print(Text.assemble((f"{d['name']} ", "bold"), d["identity"]))
    out.print(Text("  ".join(f"{k} {v}" for k, v in d["facts"].items()), style="dim"))
    if d["profiling"] and d["profiling"]["status"] not in ("done", None):
        why = f": {d['profiling']['error']}" if d["profiling"]["error"] else ""
        out.print(Text(f"profile for {d['profiling']['study']}: {d['profiling']['status']}{why}", style="yellow"))
    p = d["profile"]
    if p is None:
        out.print(Text(f"no profile: searchd device profile {d['name']} STUDY", style="dim"))
        return
    q = p["quality"]
    beside = "" if p["alone"] else ", while other jobs ran"
    fronts = f" and {p['front']} of fronts" if p["front"] else ""
    what = f"{p['operators']} operators alone, {p['architectures']} networks{fronts}{beside}"
    out.print(f"profile for {p['study']}: {what}")
    out.print(f"held-out networks: median error {_percent(q['error'])}, Kendall's tau {_two(q['tau'])}; "
              f"repeated measurements differ by {_percent(p['spread'])}")  # fmt: skip
    for width in p.get("widths", ()):  # a daemon of an older release says none
        out.print(_gain(width), soft_wrap=True)
    if not q["good"]:
        out.print(Text(f"wanted: at most {_percent(q['bound'])}, and tau 0.85 at least: more --architectures, or a "
                       "quieter machine", style="yellow"))  # fmt: skip
    if p["stale"]:
        out.print(Text(f"stale: {p['stale']}; profile it again", style="yellow"))


def _gain(w: dict[str, Any]) -> Text:
    """What few bits buy there; yellow where it is no time."""
    line = f"{w['bits']:g} bits, {w['op']}, alone: {w['least']:.2f} to {w['most']:.2f} times as fast as float32 " \
           f"({w['middle']:.2f} in the middle); worth it in {w['faster']} of {w['shapes']} shapes"
    if not w["faster"]:
        return Text(f"{line}: bytes are all that they buy there", style="yellow")
    edge = w["pays_from"]
    return Text(line if edge is None else f"{line}: those that take {1000 * edge:.3g} µs and more in float32")


def _percent(value: Any) -> str:
    return words.UNKNOWN if value is None else f"{100 * value:.1f} %"


def _two(value: Any) -> str:
    return words.UNKNOWN if value is None else f"{value:.2f}"

