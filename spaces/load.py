"""YAML to plain data with line numbers. No tags, no objects, no surprises.

Reads PyYAML's events and builds the data itself, with YAML 1.2's core rules for plain scalars: `1e-5` is a number,
`on` and `no` are text, keys are text. Refused with a clear message: more than 1 MiB, more than MOST_NODES nodes,
aliases (so no alias bombs), nesting deeper than DEEPEST, duplicate keys, tags, merge keys, several documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, NoReturn

import yaml

from spaces.errors import StudyError
from spaces.problems import Path, Problems

LARGEST = 1 << 20
"""Bytes in a study file."""
MOST_NODES = 20_000
DEEPEST = 48

_INT = re.compile(r"^[-+]?[0-9]+$")
_RADIX = re.compile(r"^0(x[0-9a-fA-F]+|o[0-7]+)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", "+.inf", ".Inf", ".INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True, slots=True)
class Document:
    """The data of one YAML document; `lines`: path of a key or list entry -> its 1-based line."""

    data: Any
    lines: dict[Path, int]
    file: str | None = None


def read_file(path: str | FilePath) -> Document:
    """The document in a file; StudyError when it cannot be read, is too large, or is not YAML that we take."""
    file = FilePath(path)
    try:
        with file.open("rb") as handle:
            raw = handle.read(LARGEST + 1)
            size = file.stat().st_size
    except FileNotFoundError:
        _fail(str(path), "there is no such file: check the path")
    except IsADirectoryError:
        _fail(str(path), "this is a folder: name the study file in it")
    except OSError as error:
        _fail(str(path), f"cannot be read: {error.strerror or error}")
    if len(raw) > LARGEST:
        _fail(str(path), _too_large(size))
    return read_text(raw, file=str(path))


def read_text(text: str | bytes, file: str | None = None) -> Document:
    """The document in `text` (UTF-8); StudyError with every duplicate key and tag, or the first syntax error."""
    if isinstance(text, bytes):
        if len(text) > LARGEST:
            _fail(file, _too_large(len(text)))
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            _fail(file, f"byte {error.start} is not UTF-8: save the file as UTF-8 text")
    elif len(text) > LARGEST or len(text.encode("utf-8", "replace")) > LARGEST:
        _fail(file, _too_large(len(text.encode("utf-8", "replace"))))
    problems = Problems(file=file)
    reader = _Reader(problems)
    try:
        data = reader.read(yaml.parse(text, Loader=yaml.SafeLoader))
    except _Refused:
        data = None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.lines = {(): mark.line + 1} if mark else {}
        said = error.problem or error.context or "cannot be parsed"
        problems.add((), f"this is not YAML: {said}; check indentation, quotes and brackets near here")
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        problems.add((), f"this is not YAML: {said[:200]}; remove odd characters")
    problems.raise_any()
    return Document(data, reader.lines, file)


def _too_large(size: int) -> str:
    return f"{size:,} bytes, more than the {LARGEST:,} that a study may have: keep data in files of its own"


def _fail(file: str | None, message: str) -> NoReturn:
    problems = Problems(file=file)
    problems.add((), message)
    raise StudyError(problems.found)


class _Refused(Exception):
    """Reading stopped; the problem is noted."""


class _Reader:
    """Builds data from events, and notes the line of each key and entry."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.lines: dict[Path, int] = {}
        problems.lines = self.lines
        self._count = 0

    def read(self, events: Iterator[yaml.Event]) -> Any:
        self._events = events
        data: Any = None
        documents = 0
        while True:
            event = self._next()
            match event:
                case yaml.StreamEndEvent():
                    if documents == 0:
                        self._refuse((), event, "the file is empty: a study needs at least study, space and objectives")
                    return data
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        self._refuse((), event, "a second document begins: keep one study a file, without '---' inside")
                    data = self._value(self._next(), (), 0)
                case _:
                    continue

    def _next(self) -> yaml.Event:
        event: yaml.Event = next(self._events)
        return event

    def _value(self, event: yaml.Event, path: Path, depth: int) -> Any:
        self._count += 1
        if self._count > MOST_NODES:
            self._refuse(path, event, f"more than {MOST_NODES:,} values: a study is smaller")
        if depth > DEEPEST:
            self._refuse(path, event, f"nested deeper than {DEEPEST}: flatten it")
        anchor = getattr(event, "anchor", None)
        if anchor and not isinstance(event, yaml.AliasEvent):
            self.problems.add(path, f"the anchor &{anchor} is not taken here: leave it out")
        match event:
            case yaml.AliasEvent():
                self._refuse(path, event, f"the alias *{event.anchor} is not taken here: write the value out")
            case yaml.ScalarEvent():
                return self._scalar(event, path)
            case yaml.SequenceStartEvent():
                self._no_tag(event, path)
                return self._list(path, depth)
            case yaml.MappingStartEvent():
                self._no_tag(event, path)
                return self._mapping(path, depth)
            case _:
                self._refuse(path, event, f"unexpected {type(event).__name__}")

    def _list(self, path: Path, depth: int) -> list[Any]:
        out: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            at = (*path, len(out))
            self.lines[at] = _line(event)
            out.append(self._value(event, at, depth + 1))
        return out

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(path, event, "a key must be plain text, not a list, a mapping or an alias")
            key = str(event.value)
            at = (*path, key)
            if key in out:
                first = self.lines[at]
                before = len(self.problems.found)
                self.lines[at] = _line(event)
                self.problems.add(at, f"the key {key!r} is here twice, first in line {first}: keep one")
                self.lines[at] = first
                self._value(self._next(), (*at, f"(again {before})"), depth + 1)
                continue
            self.lines[at] = _line(event)
            if key == "<<" and event.style is None:
                self.problems.add(at, "merge keys (<<) are not taken here: write the keys out, or use a library space")
            out[key] = self._value(self._next(), at, depth + 1)
        return out

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        text = str(event.value)
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self.problems.add(path, f"the tag {event.tag!r} is not taken here: write plain values")
            return text
        if event.tag is not None or event.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.match(text) or _RADIX.match(text):
            if len(text) > 300:
                self.problems.add(path, f"a number of {len(text)} digits is too long")
                return 0
            return int(text, 0) if _RADIX.match(text) else int(text)
        return float(text) if _FLOAT.match(text) and len(text) <= 300 else text

    def _no_tag(self, event: Any, path: Path) -> None:
        if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            self.problems.add(path, f"the tag {event.tag!r} is not taken here: write plain values")

    def _refuse(self, path: Path, event: yaml.Event, message: str) -> NoReturn:
        self.lines[path] = _line(event)
        self.problems.add(path, message)
        raise _Refused


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return 1 if mark is None else int(mark.line) + 1
