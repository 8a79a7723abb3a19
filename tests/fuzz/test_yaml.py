"""Arbitrary and hostile study files: a StudyError with lines, nothing else, whatever the text; how many were tried is
printed (`make fuzz`)."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spaces.errors import StudyError
from spaces.load import DEEPEST, LARGEST, MOST_NODES, read_text
from spaces.study import Study

INPUTS = int(os.environ.get("SEARCHD_FUZZ", "90"))
TRIED: Counter[str] = Counter()
ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
many = settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck))


def loaded(text: str | bytes, what: str) -> Study | None:
    """The study, or None after a StudyError whose every problem has words, and a line where the text has lines."""
    TRIED[what] += 1
    try:
        return Study.loads(text)
    except StudyError as error:
        problems = error.problems
    assert problems
    length = len((text if isinstance(text, str) else text.decode("utf-8", "replace")).splitlines()) + 2
    for problem in problems:
        assert problem.message
        assert problem.line is None or 1 <= problem.line <= length, problem
    return None


# ---------------------------------------------------------------- arbitrary text
PIECES = ["a: 1", "- ", "{", "}", "[", "]", ": ", "&x ", "*x", "!!python/object:os.system ", "!!binary ", "!t ", "|\n ",
          ">\n  ", "---\n", "...\n", "%YAML 1.2\n", "<<: *x", "? ", "'", '"', "\\", "#", "\t", "\n", "\r", "\x00",
          "\ud800",
          "\ufeff", "\u2028", "0x", "1e999", "9" * 400, ".nan", "~", "=", "`", "@", ",", "  ", "space", "choice",
          "float",
          "int", "study", "objectives", "search", "budget", "task", "constraints", "use", "repeat"]  # fmt: skip


@many
@given(st.one_of(st.text(), st.binary(), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)))
def test_arbitrary_text(text: str | bytes) -> None:
    """Any text or bytes are a study or a StudyError."""
    loaded(text, "arbitrary text")


# ---------------------------------------------------------------- valid studies, mutated
ODD: list[Any] = ["", "x", "\x00", "\ud800", "a" * 3000, 0, -1, 10**30, 1e308, float("nan"), float("inf"), True, None,
    [], {},
       [[]], {"a": {}}, [1, 2], [0, 1e-320], {"int": [0, 10**12]}, {"float": [0, 1], "log": True}, {"choice": []},
       {"choice": {"a": {"choice": {"b": {}}}}}, {"repeat": "nobody", "int": [0, 1]}, "__import__('os')", "1 +",
       "x ** 9e9",
       "(" * 200, "${HOME}", "../../etc/passwd", "file:///etc/passwd"]  # fmt: skip


def mutated(value: Any, draw: random.Random) -> Any:
    """The tree with one to three of its values replaced, dropped, doubled or renamed."""
    for _ in range(draw.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        waiting = [value]
        while waiting:
            here = waiting.pop()
            keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
            for key in keys:
                places.append((here, key))
                waiting.append(here[key])
        if not places:
            return value
        where, key = draw.choice(places)
        match draw.randrange(5):
            case 0:
                del where[key]
            case 1 if isinstance(where, dict):
                where[draw.choice([str(key) + "x", "", "\x00", "a.b", "1", "__class__", "lr"])] = where.pop(key)
            case 2 if isinstance(where, list):
                where.append(where[key])
            case _:
                where[key] = draw.choice(ODD)
    return value


@many
@given(st.sampled_from([p.name for p in EXAMPLES]), st.integers(0, 2**32))
def test_mutated_studies_as_data(name: str, seed: int) -> None:
    """A study as JSON, mutated: `Study.parse` takes it or says what is wrong; what it takes reads back the same."""
    TRIED["mutated data"] += 1
    spec = Study.load(ROOT / "examples" / name).dump()
    try:
        study = Study.parse(mutated(spec, random.Random(seed)))
    except StudyError:
        return
    assert Study.parse(study.dump()).dump() == study.dump()


@many
@given(st.sampled_from([p.name for p in EXAMPLES]), st.integers(0, 2**32))
def test_mutated_studies_as_text(name: str, seed: int) -> None:
    """An example's text with pieces cut, doubled and put in: a study or a StudyError with its line."""
    draw = random.Random(seed)
    text = (ROOT / "examples" / name).read_text()
    for _ in range(draw.randint(1, 4)):
        at, end = sorted(draw.randrange(len(text)) for _ in range(2))
        match draw.randrange(3):
            case 0:
                text = text[:at] + text[min(end, at + 40):]
            case 1:
                text = text[:at] + text[at : min(end, at + 200)] + text[at:]
            case _:
                text = text[:at] + draw.choice(PIECES) + text[at:]
    loaded(text, "mutated text")


# ---------------------------------------------------------------- hostile on purpose
LAUGHS = "\n".join(["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)])
HEAD = "study: x\nspace: {a: {int: [0, 1]}}\n"
TAIL = "\nobjectives: {l: minimize}\ntask: 'a:b'"
HOSTILE = {
    "billion laughs": LAUGHS, "merge": "a: &a {x: 1}\nb: {<<: *a}", "self alias": "a: &a [*a]",
    "python tag": "a: !!python/object/apply:os.system ['true']", "binary": "a: !!binary aGk=", "set": "!!set {a, b}",
    "own tag": "a: !x 1", "deep list": "[" * 5000, "deep closed": "a: " + "[" * 400 + "]" * 400,
    "deep map": "{a: " * 5000,
    "deep block": "\n".join("  " * n + "a:" for n in range(600)), "deep dash": "- " * 5000 + "a",
    "huge int": "study: x\nspace: {a: {int: [0, " + "9" * 100_000 + "]}}", "huge float": "a: 1e" + "9" * 5000,
    "int of 299 digits": "study: x\nspace: {a: {int: [0, " + "9" * 299 + "]}}\nobjectives: {l: minimize}\ntask: 'a:b'",
    "hex": "a: 0x" + "f" * 290, "duplicate keys": "study: a\nstudy: b", "many duplicates": "a: 1\n" * 5000,
    "surrogate": "study: '\ud800'", "escaped surrogate": 'study: "\\ud800"', "NUL": "study: a\x00b",
    "escaped NUL": 'study: "a\\0b"',
    "long key": "a" * 5000 + ": 1", "list key": "? [a]\n: 1", "map key": "{{a: 1}: 2}", "documents": "a: 1\n---\nb: 2",
    "many nodes": "a: [" + "1," * (MOST_NODES + 5) + "]", "too large": "#" * (LARGEST + 1), "bom": "\ufeffstudy: x",
    "utf-16": "study: x".encode("utf-16"), "latin": b"study: \xe9", "directive": "%TAG ! tag:x,2000:\n--- !a b",
    "nothing": "", "comments": "# a\n# b", "tab": "a:\n\tb: 1", "quadratic": "- &a" * 3000, "colons": "a: " * 3000,
    "quotes": "'" * 50_000, "pipes": "a: |" + "\n x" * 100_000, "nest name": "study: x\nspace: " + "{a: {choice: " * 60,
    "formula": HEAD + "objectives: {l: {goal: minimize, formula: '" + "(" * 500 + "'}}\ntask: 'a:b'",
    "power": HEAD + "constraints: ['a ** 9 ** 9 ** 9 < 1']" + TAIL,
    "escape": HEAD + "constraints: ['().__class__.__bases__']" + TAIL,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(60)
def test_hostile_text(name: str) -> None:
    """What is built to hurt a YAML reader: refused, in bounded time and memory (the timeout is a hang's, no speed)."""
    study = loaded(HOSTILE[name], "hostile")
    assert study is None or name in ("bom", "int of 299 digits"), name


def test_aliases_tags_and_depth_are_refused_by_their_line() -> None:
    """The reason and the line are those of the first of them."""
    for text, line, said in (
        (LAUGHS, 1, "anchor"), ("a: 1\nb: *x", 2, "alias"), ("a: 1\nb: !x 1", 2, "tag"),
        ("a:\n  " + "[" * (DEEPEST + 1), 2, "deeper"),
    ):  # fmt: skip
        with pytest.raises(StudyError) as caught:
            read_text(text)
        assert caught.value.problems[0].line == line
        assert said in caught.value.problems[0].message


def test_how_many_were_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers of inputs, for whoever reads the log."""
    with capsys.disabled():
        print(f"\nYAML inputs tried: {dict(TRIED)}, {TRIED.total()} in all")
    assert not TRIED or TRIED.total() >= 1
