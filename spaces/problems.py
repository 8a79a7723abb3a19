"""Collects what is wrong with a study, with the line of each, so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from spaces.errors import Problem, StudyError
from spaces.suggest import did_you_mean, meant

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Problems:
    """What was found so far. `lines`: path of a key -> its 1-based line; `file`: the name to show."""

    lines: Mapping[Path, int] = field(default_factory=dict)
    file: str | None = None
    found: list[Problem] = field(default_factory=list)

    def add(self, path: Path, message: str) -> None:
        """One problem at a path; its line is that of the nearest key above that has one."""
        line = next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), None)
        self.found.append(Problem(path=dotted(path), message=message, line=line, file=self.file))

    def add_all(self, path: Path, error: ValidationError, form: type[BaseModel], data: Any) -> None:
        """Every error of a pydantic form under `path`, in our words."""
        seen: set[Path] = set()
        details = error.errors(include_url=False, include_context=True)
        floats = {_real(d["loc"], data, missing=False) for d in details if d["type"] in ("float_type", "float_parsing")}
        for detail in details:
            inner = _real(detail["loc"], data, missing=detail["type"] == "missing")
            key = (*inner, detail["type"]) if detail["type"] == "missing" else inner
            if key in seen:
                continue
            seen.add(key)
            whole = detail["type"].startswith("int_") and inner not in floats
            if whole or inner in floats:
                self.add(path + inner, _no_number(detail["input"], whole=whole))
            else:
                self.add(path + inner, _words(detail, inner, form))

    def raise_any(self) -> None:
        """StudyError with all of them in the order of their lines, if there is one."""
        if self.found:
            raise StudyError(sorted(self.found, key=lambda p: p.line or 0))


def dotted(path: Path) -> str:
    """`("a", 0, "b")` as `a[0].b`."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def _real(loc: tuple[str | int, ...], data: Any, *, missing: bool) -> Path:
    """The parts of pydantic's location that are keys of the data (it adds the branch of a union)."""
    out: list[str | int] = []
    for i, part in enumerate(loc):
        inside = isinstance(part, int) and isinstance(data, list | tuple) and part < len(data)
        if inside or (isinstance(data, Mapping) and part in data):
            out.append(part)
            data = data[part]
        elif missing and i == len(loc) - 1:
            break
    return tuple(out)


def _words(detail: Any, path: Path, form: type[BaseModel]) -> str:
    kind, value = detail["type"], detail["input"]
    name = path[-1] if path else "it"
    match kind:
        case "missing":
            return f"the key {detail['loc'][-1]!r} is missing: add it"
        case "extra_forbidden" if path[:-1] == ("search",) and meant(str(name), _keys(form, path[:-1])) is None:
            keys = ", ".join(_keys(form, path[:-1]))
            return (f"unknown key {name!r}: an option of scheduler or searcher goes into options: {{{name}: …}}; "
                    f"known: {keys}")  # fmt: skip
        case "extra_forbidden":
            return f"unknown key {name!r}: {did_you_mean(str(name), _keys(form, path[:-1]))}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "string_type" if path and value == path[-1]:
            return f"the key {value!r} is not text: put it in quotes"
        case "literal_error":
            expected = [w.strip("' ") for w in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]
            return f"{value!r} is not allowed here: {did_you_mean(str(value), expected)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            known = _keys(form, path)
            listed = f" ({', '.join(known)})" if known else ""
            return f"{_short(value)} is not a mapping: write keys and values{listed}"
        case "list_type" | "tuple_type":
            return f"{_short(value)} is not a list: write [a, b]"
        case "string_pattern_mismatch" if path == ("study",):
            return (
                f"{_short(value)} is no name for a study: use 1 to 64 lower-case letters, digits, _ and -, a letter "
                "or digit first"
            )
        case "too_short" | "too_long":
            ctx = detail["ctx"]
            wanted = ctx.get("min_length", ctx.get("max_length"))
            return f"{_short(value)} has {ctx.get('actual_length')} entries, but {wanted} are needed"
        case _:
            said = str(detail["msg"]).removeprefix("Input ")
            return f"{_short(value)}: {said}"


def _no_number(value: Any, *, whole: bool) -> str:
    """What is wrong with a value that should be a number; one in quotes is told to lose them."""
    said = f"{_short(value)}: should be a valid {'integer' if whole else 'number'}"
    try:
        quoted = isinstance(value, str) and "_" not in value and isfinite((int if whole else float)(value))
    except (ValueError, OverflowError):
        quoted = False
    return f"{said}; remove the quotes" if quoted else said


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _keys(form: type[BaseModel], path: Path) -> list[str]:
    """The keys that a form knows at a path inside it."""
    model: type[BaseModel] | None = form
    for part in path:
        if model is None:
            return []
        if isinstance(part, int):
            continue
        field_ = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        if field_ is None:
            continue  # a key of a mapping whose values are forms
        model = _model(field_.annotation)
    return [] if model is None else [f.alias or n for n, f in model.model_fields.items()]


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for m in map(_model, get_args(annotation)) if m is not None), None)
