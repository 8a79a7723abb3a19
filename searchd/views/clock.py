"""How long a study ran: its time on the clock, less what nobody worked on it.

Left out: while it was paused, between its end and its extension, and while no daemon lived (from the last thing that
was recorded to the daemon's `woken`).
"""

from __future__ import annotations

from searchd.store.base import Reader, StudyRow

ON = frozenset({"running", "verifying"})

Span = tuple[float, float]


def spans(reader: Reader, row: StudyRow, now: float) -> list[Span]:
    """The stretches of Unix seconds in which the study ran, up to its end or `now`; disjoint, in order."""
    found: list[Span] = []
    since: float | None = None
    events = reader.events(row.id, kinds=("status", "capacity"))
    if not any(event.kind == "status" for event in events):
        since = row.started_at
    for event in events:
        if event.kind == "status":
            on = event.payload["status"] in ON
            if on and since is None:
                since = event.at
            elif not on and since is not None:
                found.append((since, event.at))
                since = None
        elif event.payload.get("woken") and since is not None:
            before = reader.events(row.id, after=event.seq - 2, limit=1)
            found.append((since, max(since, before[0].at)))
            since = event.at
    if since is not None:
        found.append((since, max(since, now if row.ended_at is None else row.ended_at)))
    return found


def last_known(reader: Reader, study: str, now: float) -> float:
    """When the last thing of the study was recorded, in Unix seconds; `now` before anything was."""
    last = reader.events(study, after=max(0, reader.counts(study)["events"] - 1))
    return last[-1].at if last else now


def seconds(stretches: list[Span]) -> float:
    """Their total length."""
    return sum(end - begin for begin, end in stretches)


def overlap(stretches: list[Span], begin: float, end: float) -> float:
    """Seconds of [begin, end] in which the study ran."""
    return sum(max(0.0, min(end, b) - max(begin, a)) for a, b in stretches)


def overlaps(stretches: list[Span], parts: list[Span]) -> float:
    """The sum of `overlap` over many parts."""
    if len(stretches) != 1:
        return sum(overlap(stretches, begin, end) for begin, end in parts)
    a, b = stretches[0]
    inside = sum(end - begin for begin, end in parts if a <= begin <= end <= b)
    return inside + sum(
        overlap(stretches, begin, end) for begin, end in parts if not a <= begin <= end <= b
    )  # fmt: skip
