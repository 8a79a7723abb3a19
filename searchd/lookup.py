"""A study by id or by name; the one rule for it, used by HTTP and by the reader of a folder."""

from __future__ import annotations

from searchd.errors import NotFound
from searchd.store.base import Reader, StudyRow


def find(reader: Reader, study: str) -> StudyRow:
    """The study with this id, else the newest with this name; raises NotFound with what there is."""
    row = reader.study(study)
    if row is not None:
        return row
    rows = reader.studies()
    named = [r for r in rows if r.name == study]
    if not named:
        raise unknown(study, [r.name for r in rows])
    return max(named, key=lambda r: r.created_at)


def unknown(study: str, names: list[str]) -> NotFound:
    """The error for a study that is not there: what there is, and the nearest name."""
    from difflib import get_close_matches

    if not names:
        return NotFound(f"no study {study!r}: there is none yet; `searchd run FILE` makes one")
    if study.endswith((".yaml", ".yml")):
        there = ", ".join(sorted(set(names)))
        return NotFound(f"no study {study!r}: a study goes by the name in its file, id or folder; there are: {there}")
    near = get_close_matches(study, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(sorted(set(names)))}"
    return NotFound(f"no study {study!r}{hint}")
