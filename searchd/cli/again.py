"""What `searchd run` says at the end of a reproduction: each point as it was recorded, and as it came out again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from searchd.folder import Folder
from spaces.reproduces import Compared, compared


def reproduced(folder: Path) -> tuple[list[Compared], dict[str, tuple[str, str]]] | None:
    """(the metrics side by side, the libraries that are others than then: name → (then, now)) of a run in its folder;
    None where nothing is reproduced."""
    with contextlib.closing(Folder(folder)) as reader:
        spec = reader.read(str(folder), "spec")
        said = spec.get("reproduces")
        if not said:
            return None
        last = len(said["trials"]) - 1
        trial = reader.read(str(folder), f"trials/{last}")
    points = [p for p in trial["points"] if p["verified"]] or trial["points"]
    return compared(spec, points), changed(said.get("made_with") or {}, folder / "trials" / str(last))


def changed(then: Mapping[str, str], folder: Path) -> dict[str, tuple[str, str]]:
    """The entries of `made_with` that the cards in a trial's folder say otherwise."""
    for card in sorted(folder.rglob("card*.json")):
        now = json.loads(card.read_text()).get("libraries", {})
        return {n: (v, str(now[n])) for n, v in then.items() if n in now and now[n] != v}
    return {}


def as_json(rows: list[Compared]) -> list[dict[str, Any]]:
    return [{"point": r.point, "metric": r.metric, "recorded": r.recorded, "again": r.again, "exact": r.exact,
             "same": r.same} for r in rows]  # fmt: skip


def differs(rows: list[Compared]) -> bool:
    """Whether a number that has to be the same is another one."""
    return any(row.exact and not row.same for row in rows)


def show(out: Console, rows: list[Compared], libraries: Mapping[str, tuple[str, str]]) -> None:
    """A line a metric, and in words whether it was reproduced."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("point", "metric", "recorded", "again", ""):
        table.add_column(name, justify="left" if name in ("metric", "") else "right")
    for row in rows:
        if row.exact:
            verdict = Text("equal") if row.same else Text("differs", style="red")
        else:
            verdict = Text("" if row.off is None else f"{row.off:+.1%}, measured again", style="dim")
        again = "nothing" if row.again is None else f"{row.again:.6g}"
        table.add_row(str(row.point), row.metric, f"{row.recorded:.6g}", again, verdict)
    out.print(table)
    out.print()
    exact = [row for row in rows if row.exact]
    if not differs(rows):
        out.print(f"reproduced: {len(exact)} numbers that training decides are equal to the digit")
        return
    if not any(row.again is not None for row in rows):
        said = "not reproduced: nothing came out again, for it did not run to its end; what is said above is why"
        out.print(Text(said, style="red"))
        return
    wrong = sum(not row.same for row in exact)
    out.print(Text(f"not reproduced: {wrong} of {len(exact)} numbers that training decides differ", style="red"))
    for name, (before, now) in libraries.items():
        out.print(Text(f"{name} was {before}, here it is {now}", style="yellow"))
    if not libraries:
        out.print(Text("libraries and processor are those of then: what the task itself reads (data, code) may have "
                       "changed, or it draws numbers that no seed decides", style="yellow"))  # fmt: skip
