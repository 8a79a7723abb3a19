"""The figures of a run, as one JSON object and as tables for docs/reliability.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

from searchd.store.base import Reader
from tests.crash.checks import repeated, repeats
from tests.crash.schedule import Happened
from tests.crash.world import Notes, World


def figures(world: World, happened: Sequence[Happened], wrong: Sequence[str], seconds: float) -> dict[str, Any]:
    """What the run came to; needs a database that answers."""
    notes = world.witness()

    def ask(reader: Reader) -> dict[str, Any]:
        counts = [reader.counts(row.id) for row in reader.studies()]
        lost, beyond = repeats(reader, notes)
        return {
            "studies": len(counts), "trials": sum(c["trials"] for c in counts),
            "reports": sum(c["reports"] for c in counts), "duplicates": sum(c["duplicates"] for c in counts),
            "events": sum(c["events"] for c in counts), "lost": lost, "beyond": sorted(beyond.values()),
            "told": [again(reader, study, trial, notes, happened) for study, trial in sorted(beyond)],
        }  # fmt: skip

    kinds: dict[str, list[Happened]] = defaultdict(list)
    for one in happened:
        kinds[one.kind].append(one)
    return (world.read(ask) or {}) | {
        "database": world.database.name, "lease_s": world.lease_s, "seconds": round(seconds),
        "disk": world.disk.how, "faults": len(happened), "repeated": repeated(notes), "wrong": list(wrong),
        "restarts": {ward.name: len(ward.ends) for ward in world.wards},
        "kinds": {name: _kind(found) for name, found in sorted(kinds.items())},
    }  # fmt: skip


def again(
    reader: Reader, study: str, trial: int, notes: Notes, happened: Sequence[Happened]
) -> dict[str, Any]:  # fmt: skip
    """What befell a trial that repeated more than its losses explain: steps computed again and when, its losses, and
    the faults from just before the first time to the last; in seconds since that first time."""
    twice = {step: [note.at for note in times] for (s, t, step), times in sorted(notes.items())
             if (s, t) == (study, trial) and len(times) > 1}  # fmt: skip
    first, last = min(min(times) for times in twice.values()), max(max(times) for times in twice.values())
    losses = [e for e in reader.events(study, kinds=("lost",)) if e.payload["trial"] == trial]
    return {
        "study": study, "trial": trial,
        "steps": {step: [round(at - first, 2) for at in times] for step, times in twice.items()},
        "lost": [[round(e.at - first, 2), e.payload.get("reason", "")] for e in losses],
        "faults": [[one.kind, round(one.at - first, 2), round(one.over - first, 2)] for one in happened
                   if one.over > first - 2 and one.at < last + 2],
    }  # fmt: skip


def _kind(found: Sequence[Happened]) -> dict[str, Any]:
    times = sorted(one.recovery_s for one in found if one.recovery_s is not None)
    return {
        "faults": len(found), "hit": sum(one.hit for one in found), "measured": len(times),
        "median_s": round(median(times), 2) if times else None, "most_s": round(times[-1], 2) if times else None,
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    said = [
        f"{found['faults']} faults in {found['seconds']} s on {found['database']}, lease {found['lease_s']:g} s: "
        f"{found['studies']} studies, {found['trials']} trials, {found['reports']} reports, {found['duplicates']} "
        f"duplicates dropped, {found['lost']} attempts lost, {found['repeated']} steps repeated "
        f"(most beyond one for each lost attempt, in one trial: {max(found['beyond'], default=0)}); "
        f"{len(found['wrong'])} checks failed. A daemon's imports alone took {found.get('daemon_imports_s')} s at the "
        f"beginning and the end (load {found.get('load')} on {found.get('cpus')} CPUs). Disk: {found['disk']}.",
        "", "| fault | times | jobs running | recovery, median (s) | most (s) |", "| --- | --: | --: | --: | --: |",
    ]  # fmt: skip
    for name, kind in found["kinds"].items():
        middle, most = (("-" if kind[k] is None else f"{kind[k]:.2f}") for k in ("median_s", "most_s"))
        said.append(f"| {name} | {kind['faults']} | {kind['hit']} | {middle} | {most} |")
    return "\n".join(said)
