"""The YAML reader: plain data with line numbers, or a StudyError; nothing else, whatever comes in."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces import load
from spaces.errors import StudyError
from spaces.study import Study
from tests.support.spaces import STUDY

# PyYAML writes by YAML 1.1, where 0E0 and 0o7 are text; here they are numbers, so such text is left out.
texts = st.text(max_size=8).filter(lambda t: not t[:1].isdigit() and t[:1] not in ("+", "-", "."))
scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts
keys = texts.filter(lambda k: k not in ("", "<<"))
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)


@settings(max_examples=150, deadline=None)
@given(trees, st.booleans())
def test_what_yaml_writes_is_read_back(data: Any, flow: bool) -> None:
    """Law: any JSON-like tree that PyYAML writes comes back equal."""
    text = yaml.safe_dump(data, default_flow_style=flow)
    assert load.read_text(text).data == data


def test_plain_scalars_follow_yaml_1_2() -> None:
    """1e-5 is a number, `on`, `no`, dates and 1:30 are text, 010 is ten, keys are text, quoted is text."""
    text = "[1e-5, 1E3, .5, 1., -2, 010, 0x1F, 0o17, on, no, yes, 2020-01-01, 1:30, 1_000, ~, null, TRUE, '7', .inf]"
    assert load.read_text(text).data == [
        1e-5, 1000.0, 0.5, 1.0, -2, 10, 31, 15, "on", "no", "yes", "2020-01-01", "1:30", "1_000", None, None, True, "7",
        math.inf,
    ]  # fmt: skip
    assert load.read_text("8: a\ntrue: b\n").data == {"8": "a", "true": "b"}


def test_lines_are_those_of_the_keys() -> None:
    """Each key and list entry knows its line, counted from 1."""
    document = load.read_text("a:\n  b: [1,\n     2]\n  c:\n  - x\n")
    assert document.lines[("a",)] == 1
    assert document.lines[("a", "b")] == 2
    assert document.lines[("a", "b", 1)] == 3
    assert document.lines[("a", "c", 0)] == 5


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is here twice, first in line 1: keep one"),
        ("a: !!python/object/apply:os.system [echo]\n", 1, "tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a:\n  b: !secret x\n", 2, "the tag '!secret' is not taken here"),
        ("a: &x [1]\nb: *x\n", 1, r"the alias \*x is not taken here: write the value out"),
        ("a: 1\nb: &x {c: 1}\n", 2, "the anchor &x is not taken here: leave it out"),
        ("a: {<<: {b: 1}}\n", 1, "merge keys"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins"),
        ("", 1, "the file is empty"),
        ("# nothing\n", None, "the file is empty"),
        ("a: [1, 2\nb: 3\n", 2, "this is not YAML"),
        ("a:\n\t- 1\n", 2, "this is not YAML"),
        ("? [a]\n: 1\n", 1, "a key must be plain text"),
        ("a: " + "[" * 60 + "]" * 60, 1, "nested deeper than 48"),
        ("a: [" + "1," * 25_000 + "]", 1, "more than 20,000 values"),
        ("a: " + "9" * 5000, 1, "a number of 5000 digits"),
        ("a: \x00", None, "this is not YAML"),
    ],
)
def test_what_is_refused_says_where_and_why(text: str, line: int | None, said: str) -> None:
    """Each thing that the reader refuses has its line and a message with the remedy."""
    with pytest.raises(StudyError, match=said) as caught:
        load.read_text(text, "s.yaml")
    if line is not None:
        assert caught.value.problems[0].line == line


def test_several_problems_come_at_once() -> None:
    """Duplicate keys and tags are all found in one reading."""
    with pytest.raises(StudyError) as caught:
        load.read_text("a: 1\na: 2\nb: !x 1\nb: 2\n")
    assert [p.line for p in caught.value.problems] == [2, 3, 4]


def test_alias_bombs_and_large_files_end_at_once(tmp_path: Path) -> None:
    """Ten lines of aliases that stand for 10**9 values, 10 MB of YAML, deep brackets: refused within a second."""
    bomb = 'a: &a ["x","x","x","x","x","x","x","x","x"]\n' + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    large = tmp_path / "large.yaml"
    large.write_bytes(b"a: 1\n" * 2_000_000)
    start = time.process_time()
    with pytest.raises(StudyError, match="alias"):
        load.read_text(bomb)
    with pytest.raises(StudyError, match=r"large.yaml: 10,000,000 bytes, more than the 1,048,576 that a study"):
        Study.load(large)
    for text in ("[" * 500_000, "{a: " * 200_000, "- " * 500_000, "? " * 300_000):
        with pytest.raises(StudyError):
            load.read_text(text)
    assert time.process_time() - start < 5.0  # CPU seconds; under one alone


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """A missing file, a folder, a file that may not be read, bytes that are not UTF-8: each names the file."""
    with pytest.raises(StudyError, match=r"nosuch.yaml: there is no such file"):
        Study.load(tmp_path / "nosuch.yaml")
    with pytest.raises(StudyError, match="this is a folder"):
        Study.load(tmp_path)
    odd = tmp_path / "odd.yaml"
    odd.write_bytes(b"study: \xff\xfe")
    with pytest.raises(StudyError, match=r"odd.yaml: byte 7 is not UTF-8"):
        Study.load(odd)
    if os.geteuid() != 0:  # root reads everything
        odd.chmod(0)
        with pytest.raises(StudyError, match="cannot be read"):
            Study.load(odd)


def test_a_byte_order_mark_is_no_trouble() -> None:
    """UTF-8 with a byte-order mark, as some editors write it, is read."""
    assert load.read_text("\ufeffa: ü\n".encode()).data == {"a": "ü"}


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`?,\n\t 01.~<", max_size=60) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Law: no text raises anything but StudyError, as YAML or as a study."""
    try:
        Study.loads(text)
    except StudyError as error:
        assert error.problems  # noqa: PT017


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Law: no bytes raise anything but StudyError."""
    try:
        load.read_text(raw)
    except StudyError as error:
        assert error.problems  # noqa: PT017


pieces = st.sampled_from(
    [
        "",
        "x",
        "-1",
        "0",
        "1e400",
        "[]",
        "{}",
        "~",
        "true",
        ": ",
        "\n",
        "  ",
        "[1, 2]",
        "'",
        "choice",
        "log",
        "repeat: n",
        "@",
        "99999999999",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(STUDY) - 1), st.integers(0, 12), pieces)
def test_a_damaged_study_is_read_or_refused(at: int, cut: int, put: str) -> None:
    """Law: a real study with a piece cut out and another put in is a study or a StudyError with problems."""
    try:
        study = Study.loads(STUDY[:at] + put + STUDY[at + cut :])
    except StudyError as error:
        assert error.problems  # noqa: PT017
        assert "bug" not in str(error)  # noqa: PT017
    else:
        assert Study.parse(study.dump()) == study
