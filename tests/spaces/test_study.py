"""Studies: read, dumped, and refused with the line, the value, the rule and the remedy."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces import load
from spaces.errors import StudyError
from spaces.study import Objective, Study
from tests.support.spaces import STUDY


def broken(old: str, new: str) -> StudyError:
    assert old in STUDY
    with pytest.raises(StudyError) as caught:
        Study.loads(STUDY.replace(old, new, 1), file="digits.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # a typo, at every level
        (
            "objectives:",
            "objectivs:",
            r"digits.yaml:14: objectivs: unknown key 'objectivs': did you mean 'objectives'\?",
        ),
        (
            "{int: [8, 32], log",
            "{int: [8, 32], lgo",
            r"digits.yaml:3: space.width.lgo: unknown key 'lgo': did you mean 'log'",
        ),
        (
            "{int: [8, 32]",
            "{itn: [8, 32]",
            r"digits.yaml:3: space.width: 'width' says no kind of domain.*did you mean 'int'",
        ),
        (
            "scheduler: asha",
            "scheduler: ahsa",
            r"digits.yaml:18: search.scheduler: there is no scheduler 'ahsa': did you mean",
        ),
        ("scheduler: asha", "schedular: asha", r"digits.yaml:18: search.schedular: .*did you mean 'scheduler'"),
        (
            "val_error: minimize",
            "val_eror: minimize",
            r"digits.yaml:15: .*no metric 'val_eror': did you mean 'val_error'",
        ),
        ("val_error: minimize", "test_error: minimize", r"would search on the test data"),
        (
            "val_error: minimize",
            "val_error: minimise",
            r"digits.yaml:15: .*'minimise' is not allowed here: did you mean 'minim",
        ),
        ("sgd: {lr", "sgdd: {lr", r"digits.yaml:8: .*there is no optimizer 'sgdd': did you mean 'sgd'"),
        ("momentum: {float", "momentun: {float", r"digits.yaml:8: .*sgd has no 'momentun': did you mean 'momentum'"),
        ("task: classify", "task: clasify", r"digits.yaml:20: task: 'clasify' is no task: did you mean 'classify'"),
        (
            "task: classify",
            "task: {classify: {dta: digits}}",
            r"digits.yaml:20: task.classify.dta: .*did you mean 'data'",
        ),
        ("task: classify", "task: {classify: {data: digit}}", r"'digit' is no data set: did you mean 'digits'"),
        (
            "task: classify",
            "task: {comand: [x]}",
            r"exactly one of classify, .*function, command.*did you mean 'command'",
        ),
        # ranges
        ("[1, 3]", "[3, 1]", r"digits.yaml:4: space.depth.int: the range \[3, 1\] is empty.*did you mean \[1, 3\]"),
        (
            "[0.001, 1]",
            "[0, 1]",
            r"digits.yaml:8: space.optimizer.choice.sgd.lr.float: a log scale needs low > 0, but low = 0",
        ),
        ("[1, 3]", "[1]", r"digits.yaml:4: space.depth.int: \[1\] has 1 entries, but 2 are needed"),
        ("[1, 3]", "[1, x]", r"digits.yaml:4: space.depth.int\[1\]: 'x'"),
        ("[1, 3]", "[1, 2.5]", r"space.depth.int\[1\]: 2.5"),
        ("[0.0, 0.99]", "[0.0, .nan]", r"space.optimizer.choice.sgd.momentum.float\[1\]: nan is not finite"),
        # structure
        (
            "repeat: depth",
            "repeat: dept",
            r"digits.yaml:10: space.bits.repeat: 'dept' is no int parameter.*did you mean 'depth'",
        ),
        ("repeat: depth", "repeat: kernl", r"space.bits.repeat"),
        ("repeat: depth", "repeat: -1", r"space.bits.choice: repeat: -1 is outside"),
        ("repeat: depth", "repeat: 9999", r"repeat: 9999 is outside \[0, 256\]"),
        (
            "{int: [1, 3]}",
            "[1, 2, 3]",
            r"digits.yaml:4: space.depth: \[1, 2, 3\] says no kind: write {choice: \[...\]}",
        ),
        ("{int: [1, 3]}", "{int: [1, 3], float: [0, 1]}", r"has both float and int: give exactly one"),
        ("width: {int", "wid-th: {int", r"'wid-th' is not a name"),
        ("width: {int", "sum: {int", r"'sum' is a word of the constraint language"),
        ("{lr: {float: [0.001", "{name: {float: [0.001", r"'name' inside a choice is where the chosen option"),
        ("{subset: [0, 1]}", "{subset: [0, 0]}", r"0 and 0 are equal: items must differ"),
        ("{subset: [0, 1]}", "{subset: [0, [1]]}", r"\[1\] is not a plain value"),
        ("{subset: [0, 1]}", "{subset: []}", r"at least one of its items"),
        (
            "choice: [3, 5]",
            "choice: [3, 4]",
            r"space.kernel: kernel = 4 is even, but same padding needs an odd one: use 3 or 5",
        ),
        ("choice: [2, 4, 8, 32]", "choice: [2, 4, 7]", r"bits = 7 is no width that the network has: 1, 1.58, 2"),
        # constraints
        (
            "width * depth <= 60",
            "width * depth <= 7",
            r"digits.yaml:13: constraints\[0\]: no config was found that satisfies 'width \* depth <= 7'",
        ),
        ("width * depth <= 60", "widht <= 60", r"digits.yaml:13: constraints\[0\]: 'widht'.*did you mean 'width'"),
        ('["width * depth <= 60"]', "width <= 60", r"digits.yaml:13: constraints: 'width <= 60' is not a list"),
        # the rest
        ("study: digits", "study: Digits!", r"digits.yaml:1: study: 'Digits!' is no name for a study: use 1 to 64 low"),
        ("study: digits\n", "", r"the key 'study' is missing"),
        ("at_most: 5", "at_most: 5, at_least: 9", r"digits.yaml:16: .*at_least = 9 is above at_most = 5"),
        ("at_most: 5", "at_most: 0", r"digits.yaml:16: objectives.latency_ms.at_most: latency_ms is always above"),
        ("at_most: 5", "at_most: -1", r"digits.yaml:16: .*latency_ms is always above 0, but at_most = -1: raise it"),
        ("at_most: 5", "at_most: fast", r"objectives.latency_ms.at_most: 'fast': should be a valid number$"),
        ("goal: minimize, ", "", r"objectives.latency_ms: the key 'goal' is missing"),
        ("eta: 3", "eta: 3, promotion: delayed", r"search.promotion: unknown key .* goes into options: {promotion: …}"),
        ("eta: 3", "etta: 3", "unknown key 'etta': did you mean 'eta'"),
        ("r: 1, R: 27", "r: 28, R: 27", r"digits.yaml:18: search.r: a ladder needs 1 <= r <= R, but r = 28 and R = 27"),
        ("eta: 3", "eta: 1", r"search.eta: 1"),
        ("trials: 60", "trials: 0", r"digits.yaml:19: budget.trials: 0"),
        ("trials: 60", "trials: '60'", r"digits.yaml:19: budget.trials: '60': should be a valid integer; remove the"),
        (
            "task: classify",
            "task: {classify: {data: nosuch.npz}}",
            r"digits.yaml:20: .*the data file nosuch.npz does not exist",
        ),
        ("task: classify", "task: {classify: {shape: [3]}}", r"shape and classes belong to a data file"),
        ("task: classify", "task: 'my mod:f'", r"'my mod:f' names no function: write package.module:function"),
        ("task: classify", "task: {command: []}", r"\[\] is no command"),
        ("task: classify", "task: {command: [a], describe: []}", r"task.describe: \[\] is no command"),
        ("task: classify", "task: {function: 'a:b', describe: b}", r"task.describe: 'b' names no function"),
        ("task: classify", "task: {function: 'a:b', describe: }", r"task.describe: None names no function"),
        ("task: classify", "task: {classify: {}, describe: 'a:b'}", r"unknown key 'describe' beside 'classify'"),
        (
            "task: classify",
            "task: {function: 'a:b', time_limit_s: -1}",
            r"task.time_limit_s: -1 is not a number of seconds",
        ),
        (
            "task: classify",
            "task: {function: 'a:b', descibe: 'a:d'}",
            r"digits.yaml:20: task.descibe: 'descibe' looks like 'describe' and would .*: write describe, or give",
        ),
        ("task: classify", "task: {function: 'a:b', Describe: 'a:d'}", "looks like 'describe'"),
        ("task: classify", "task: {function: 'a:b', time_limit: 3}", "task.time_limit: .*looks like 'time_limit_s'"),
        ("task: classify", "task: {command: [a], time-limit-s: 3}", "looks like 'time_limit_s'"),
        ("task: classify", "task: {command: [a], instance: 9, cap_s: 1}", "looks like 'instances'"),
        ("task: classify", "task: {command: [a], instances: 9, cap: 1}", "looks like 'cap_s'"),
        ("task: classify", "seed: -1", r"digits.yaml:20: seed: -1"),
        ("task: classify", "priority: '2'", r"priority: '2': should be a valid number; remove the quotes"),
        ("task: classify", "priority: two", r"priority: 'two': should be a valid number$"),
        (
            "task: classify",
            "use: [optimizer/basic]",
            r"there is no library space 'optimizer/basic': did you mean 'optimizers/basic'",
        ),
        ("task: classify", "use: [bits/wide, bits/low]", None),
    ],
)
def test_a_bad_study_says_where_what_and_how_to_mend_it(old: str, new: str, said: str | None) -> None:
    """Each mistake ends as a StudyError with file, line, path, value, rule and remedy."""
    if said is None:  # the study's own `bits` wins over both, so nothing clashes
        Study.loads(STUDY.replace(old, new, 1))
        return
    error = broken(old, new)
    with pytest.raises(StudyError, match=said):
        raise error


@pytest.mark.parametrize(
    "key", ["description", "prescribe", "size_limit_s", "limit_s", "time_s", "timeout", "data", "instance", "cap", "d"]
)
def test_a_task_has_options_of_its_own(key: str) -> None:
    """What is near to none of our keys reaches the task as it is; `instances` and `cap_s` are ours beside a command
    only."""
    study = Study.loads(STUDY.replace("task: classify", f"task: {{function: 'a:b', {key}: 1}}"))
    assert study.task.options == {key: 1}


def test_a_slip_that_a_log_holds_stays_an_option() -> None:
    """A study recorded before the rule was is read as it was: its log replays."""
    dump = Study.loads(STUDY).dump() | {"task": {"function": "a:b", "descibe": "a:d"}}
    assert Study.parse(dump).task.options == {"descibe": "a:d"}


def test_every_wrong_parameter_of_a_network_is_told_at_its_own_line() -> None:
    """Values that the task can build nothing from come together, each once and where it stands."""
    text = STUDY.replace("choice: [3, 5]", "choice: [4, 6]", 1).replace("choice: [2, 4, 8, 32]", "choice: [5, 77]", 1)
    text = text.replace("{subset: [0, 1]}", "{subset: [a, b]}", 1)
    with pytest.raises(StudyError) as caught:
        Study.loads(text)
    told = [(problem.path, problem.line) for problem in caught.value.problems]
    lines = text.splitlines()
    assert [path for path, _ in told] == ["space.kernel", "space.bits", "space.exits"]
    assert all(lines[(line or 0) - 1].strip().startswith(path.split(".")[1]) for path, line in told)


def test_bounds_that_a_log_holds_stay_bounds() -> None:
    """An impossible bound is refused where it is typed; a study recorded with one is read as it was."""
    dump = Study.loads(STUDY).dump()
    dump["objectives"]["latency_ms"]["at_most"] = -1
    assert Study.parse(dump).objectives[1].at_most == -1


def test_several_mistakes_come_at_once_in_the_order_of_lines() -> None:
    """All problems of a study are told together, each once."""
    text = STUDY.replace("lgo", "log").replace("[1, 3]", "[3, 1]").replace("asha", "ahsa").replace("60}", "x}")
    text = text.replace("int: [8, 32], log", "int: [8, 32], lgo")
    with pytest.raises(StudyError) as caught:
        Study.loads(text, file="s.yaml")
    assert [(p.line, p.path) for p in caught.value.problems] == [
        (3, "space.width.lgo"), (4, "space.depth.int"), (18, "search.scheduler"), (19, "budget.trials"),
    ]  # fmt: skip
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("said", [None, [], 3, "text", {"study": 1}, {"study": "a", "space": 3, "objectives": []}])
def test_what_is_no_study_at_all_is_refused(said: object) -> None:
    """Other shapes of data are StudyErrors too."""
    with pytest.raises(StudyError):
        Study.parse(said)  # type: ignore[arg-type]


def test_a_study_reads_dumps_and_reads_again() -> None:
    """Defaults are filled in, the dump is JSON, and its parse is the same study."""
    study = Study.loads(STUDY)
    assert study.name == "digits"
    assert study.objectives[1] == Objective(name="latency_ms", goal="minimize", at_most=5)
    assert (study.search.scheduler, study.search.R, study.search.brackets) == ("asha", 27, None)
    assert (study.budget.trials, study.budget.hours) == (60, None)
    assert (study.task.kind, study.task.options["data"]) == ("classify", "digits")
    assert (study.device, study.seed) == ("cpu", 0)
    dump = json.loads(json.dumps(study.dump(), allow_nan=False))
    assert Study.parse(dump) == study
    assert Study.parse(dump).dump() == study.dump()
    assert set(dump) == {
        "study", "space", "constraints", "objectives", "search", "budget", "task", "device", "seed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "kind", "name", "argv", "describe", "options"),
    [
        ("classify", "classify", "classify", (), (), {"data": "digits"}),
        ("{classify: {data: wine}}", "classify", "classify", (), (), {"data": "wine"}),
        ("my.mod:train", "function", "my.mod:train", (), (), {}),
        ("{function: 'm:f', rounds: 3}", "function", "m:f", (), (), {"rounds": 3}),
        ("{function: 'm:f', describe: 'm:d', a: 1}", "function", "m:f", (), ("m:d",), {"a": 1}),
        (
            "{command: [python, t.py, 3], time_limit_s: 60}",
            "command",
            "python",
            ("python", "t.py", "3"),
            (),
            {"time_limit_s": 60},
        ),
        ("{command: ./t, describe: [./d, '{lr}']}", "command", "./t", ("./t",), ("./d", "{lr}"), {}),
    ],
)
def test_tasks_in_all_their_forms(
    task: str, kind: str, name: str, argv: tuple[str, ...], describe: tuple[str, ...], options: dict[str, object]
) -> None:
    """Each form of a task is read, and its dump reads to the same."""
    text = STUDY.replace("task: classify", f"task: {task}")
    study = Study.loads(text)
    found = study.task
    assert (found.kind, found.name, found.argv, found.describe, found.options) == (kind, name, argv, describe, options)
    assert Study.parse(study.dump()) == study


def test_a_data_file_is_found_beside_the_study(tmp_path: Path) -> None:
    """A relative path counts from the study's folder; shape and classes are read from the file's arrays and kept."""
    np.savez(tmp_path / "d.npz", x=np.zeros((6, 5, 4), np.float32), y=np.array([0, 2, 1, 0, 2, 1]))
    file = tmp_path / "s.yaml"
    file.write_text(STUDY.replace("task: classify", "task: {classify: {data: d.npz}}"))
    study = Study.load(file)
    assert study.task.options == {"data": str(tmp_path / "d.npz"), "shape": [1, 5, 4], "classes": 3}
    (tmp_path / "d.npz").unlink()
    assert Study.parse(study.dump()) == study  # a daemon elsewhere needs no file to read the study


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((4, 2)), "z": np.zeros(4, int)}, "it has no array 'y', only x, z"),
        ({"x": np.zeros(4), "y": np.zeros(4, int)}, r"x has shape \(4,\)"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(3, int)}, r"y has shape \(3,\) of int64, but \[4\] whole numbers"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(4)}, "of float64"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(4, int)}, "y has 1 class"),
        ({"x": np.array(["a", "b"]).reshape(2, 1), "y": np.array([0, 1])}, "x holds 'U', but numbers"),
        ({"x": np.zeros((2, 1)), "y": np.array([None, 1], object)}, "no .npz with plain arrays"),
    ],
)
def test_a_data_file_of_another_form_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    """A file without x and y, or with other shapes or types, says what it has and what is needed."""
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(StudyError, match=said):
        Study.loads(STUDY.replace("task: classify", "task: {classify: {data: d.npz}}"), base=tmp_path)


def test_a_data_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """Bytes that are no zip archive end as a message."""
    (tmp_path / "d.npz").write_bytes(b"not a zip")
    with pytest.raises(StudyError, match=r"no \.npz with plain arrays"):
        Study.loads(STUDY.replace("task: classify", "task: {classify: {data: d.npz}}"), base=tmp_path)


def _deep(n: int) -> object:
    value: object = 1
    for _ in range(n):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"space": {"a": {"const": _deep(900)}}}, r"space.a.const: .* is nested deeper than 16"),
        ({"space": {"a\n": 1}}, r"is not a name"),
        ({"space": {"exits": {"subset": [0, 1], "repeat": 2}}}, r"is no plain number, but the network needs numbers"),
        ({"space": {"bits": {"choice": {"a": {}}, "repeat": 2}}}, r"is no plain number, but the network needs numbers"),
        ({"space": {1: 2}}, r"space\[1\]: the key 1 is not text"),
        ({"search": {"options": {"a": _deep(900)}}}, r"search.options: .* is nested deeper than 16"),
        ({"search": {"options": {"a": float("nan")}}}, r"search.options: .*not finite"),
        ({"task": {"function": "m:f", "a": {1, 2}}}, r"task: .*is no plain value"),
    ],
)
def test_a_study_given_as_data_is_checked_as_well(change: dict[str, object], said: str) -> None:
    """What YAML cannot say but a caller can (deep lists, other keys and types) is refused by the same rules."""
    said_study = {
        "study": "s",
        "space": {"a": {"int": [1, 3]}},
        "objectives": {"bytes": "minimize"},
        "task": "classify",
    }
    with pytest.raises(StudyError, match=said):
        Study.parse({**said_study, **change})


junk = st.sampled_from(
    [
        None,
        True,
        -1,
        0.5,
        10**30,
        "",
        "x",
        "depth",
        [],
        [1],
        [1, 2],
        {},
        {"a": 1},
        {"float": [0, 1]},
        {1: 2},
        [[1]],
        {"choice": {}},
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_study_with_any_part_replaced_is_read_or_refused(data: st.DataObject) -> None:
    """Law: a real study with one or two of its parts replaced by something else is a study or a StudyError."""
    said = load.read_text(STUDY).data
    for _ in range(data.draw(st.integers(1, 2))):
        at = said
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if not isinstance(at[key], dict | list) or data.draw(st.booleans()):
                at[key] = copy.deepcopy(data.draw(junk))
                break
            at = at[key]
    try:
        study = Study.parse(said)
    except StudyError as error:
        assert error.problems  # noqa: PT017
        assert "bug" not in str(error)  # noqa: PT017
    else:
        assert Study.parse(json.loads(json.dumps(study.dump(), allow_nan=False))) == study
