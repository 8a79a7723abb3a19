"""The command line: every command's text and JSON, its exit codes, and no stack trace whatever is typed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from searchd.cli import main
from tests.support.study_db import Written, write_study

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.yaml"
GOOD = EXAMPLE.read_text()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    study = write_study(tmp_path_factory.mktemp("out") / "digits", trials=20)
    yield study
    study.close()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "ROOT", "TOKEN", "TOKEN_FILE", "DATABASE", "BROKER"):
        monkeypatch.delenv(f"SEARCHD_{name}", raising=False)


def run(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    assert "Traceback" not in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def answer(*args: str, code: int = 0) -> Any:
    return json.loads(run(*args, "--json", code=code).stdout)


# ---------------------------------------------------------------- looking
def test_front_has_the_promised_shape(written: Written) -> None:
    """`front --json` is a list of trial, point, step, config, metrics; the table has a row for each."""
    root = ("--root", str(written.folder.parent))
    points = answer("front", "digits", *root)
    assert points
    assert all(set(p) >= {"trial", "point", "step", "config", "metrics"} for p in points)
    text = run("front", "digits", *root).stdout.splitlines()
    assert text[0].split()[:3] == ["trial", "step", "val_error"]
    assert len(text) >= len(points) + 1


def test_show_has_the_promised_keys(written: Written) -> None:
    """`show --json` has status, trials by state, steps_done, hypervolume, busy_fraction and seconds."""
    root = ("--root", str(written.folder.parent))
    summary = answer("show", "digits", *root)
    assert {"status", "trials", "steps_done", "hypervolume", "busy_fraction", "seconds"} <= set(summary)
    assert summary["trials"]["total"] == sum(v for k, v in summary["trials"].items() if k != "total")
    text = run("show", "digits", *root).stdout
    assert "digits" in text
    assert "done" in text


@pytest.mark.parametrize("command", [("list",), ("trials", "digits"), ("log", "digits"), ("workers",)])
def test_lists_answer_lists(written: Written, command: tuple[str, ...]) -> None:
    """Commands that show many things answer a JSON list, and a readable text without --json."""
    root = ("--root", str(written.folder.parent))
    assert isinstance(answer(*command, *root), list)
    assert run(*command, *root).stdout.strip()


def test_watch_is_one_json_document_a_line(written: Written) -> None:
    """`watch --json` of an ended study is its whole log as JSON lines."""
    lines = run("watch", "digits", "--after", "0", "--json", "--root", str(written.folder.parent)).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))


def test_one_trial(written: Written) -> None:
    """`trials STUDY N` shows a trial's life; a number that is not there is exit code 3."""
    root = ("--root", str(written.folder.parent))
    detail = answer("trials", "digits", "2", *root)
    assert detail["trial"] == 2
    assert {"reports", "jobs", "points", "files"} <= set(detail)
    assert "trial 2" in run("trials", "digits", "2", *root).stdout
    run("trials", "digits", "999", *root, code=3)


def test_why_a_paused_trial_began_is_no_reason_for_its_pause(written: Written) -> None:
    """What is kept of a paused trial is why it last began, and the text says so; of others it is about their state."""
    root = ("--root", str(written.folder.parent))
    trials = [t for t in answer("trials", "digits", *root) if t["reason"]]
    assert {"paused", "failed"} <= {t["status"] for t in trials}
    for t in trials:
        first = " ".join(run("trials", "digits", str(t["trial"]), *root).stdout.split("momentum")[0].split())
        began = "it last began because: " if t["status"] == "paused" else ""
        assert f"{t['status']} at step {t['step']} {began}{t['reason']}" in first


def test_failed_trials_say_why(written: Written) -> None:
    """Trials can be filtered by state, and a failed one brings its reason."""
    root = ("--root", str(written.folder.parent))
    failed = answer("trials", "digits", "--status", "failed", *root)
    assert all(t["status"] == "failed" for t in failed)
    if failed:
        assert failed[0]["reason"] in run("trials", "digits", "--status", "failed", *root).stdout


def test_the_last_lines_of_a_log(written: Written) -> None:
    """`-n` alone shows the end, as of any log; with `--after` it is a page forward; without both all is there."""
    root = ("--root", str(written.folder.parent))
    whole = [e["seq"] for e in answer("log", "digits", *root)]
    assert [e["seq"] for e in answer("log", "digits", "-n", "5", *root)] == whole[-5:]
    assert len(run("log", "digits", "-n", "5", *root).stdout.splitlines()) == 5
    assert [e["seq"] for e in answer("log", "digits", "-n", "5", "--after", "3", *root)] == whole[3:8]
    assert [e["seq"] for e in answer("log", "digits", "-n", "5", "--after", "0", *root)] == whole[:5]


# ---------------------------------------------------------------- exit codes
@pytest.mark.parametrize("command", ["show", "front", "trials", "log", "watch"])
def test_an_unknown_study_is_3(written: Written, command: str) -> None:
    """A study that is not there: exit code 3 and the name that was meant."""
    result = run(command, "digit", "--root", str(written.folder.parent), code=3)
    assert "did you mean 'digits'" in result.stderr
    as_json = run(command, "digit", "--root", str(written.folder.parent), "--json", code=3)
    assert "digits" in json.loads(as_json.stderr)["error"]


def test_a_file_where_a_study_is_wanted_is_told(written: Written) -> None:
    """A study goes by its name and not by its file: said instead of a name that is near."""
    said = run("show", "digits.yaml", "--root", str(written.folder.parent), code=3).stderr
    assert "a study goes by the name in its file" in said
    assert "there are: digits" in said


@pytest.mark.parametrize("command", ["pause", "resume", "stop"])
def test_no_daemon_is_4(written: Written, command: str) -> None:
    """A change that needs a daemon when there is none: exit code 4 and how to get one."""
    assert "searchd run" in run(command, "digits", "--root", str(written.folder.parent), code=4).stderr
    assert "127.0.0.1:9" in run(command, "digits", "--url", "http://127.0.0.1:9", code=4).stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("frnot", "digits"), "did you mean `searchd front`"),
        (("front",), "STUDY"),
        (("front", "digits", "--jsn"), "--json"),
        (("inject", "digits", "width"), "NAME=VALUE"),
        (("inject", "digits"), "no values"),
        (("export", "digits"), "--to DIR"),
        (("serve",), "--local"),
        (("run", "nosuch.yaml"), "nosuch.yaml"),
        (("plan", "nosuch.yaml"), "nosuch.yaml"),
        (("validate", "/"), "/"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_right(args: tuple[str, ...], said: str) -> None:
    """Typing mistakes and missing files end with exit code 2 and a hint."""
    assert said in run(*args, code=2).stderr


# ---------------------------------------------------------------- files
def test_validate_and_plan_of_the_example() -> None:
    """The shipped example is valid, and its plan has trials, steps and brackets of rungs."""
    assert answer("validate", str(EXAMPLE))["ok"] is True
    plan = answer("plan", str(EXAMPLE))
    assert plan["trials"] > 0
    assert plan["steps"] > 0
    assert all({"trials", "step"} == set(rung) for bracket in plan["brackets"] for rung in bracket["rungs"])
    assert "bracket" in run("plan", str(EXAMPLE)).stdout


def test_plan_of_the_papers_table(tmp_path: Path) -> None:
    """Synchronous Hyperband with R = 243, eta = 3: 6 brackets, 415 trials, 6,831 steps resumed, 8,457 restarted."""
    file = tmp_path / "study.yaml"
    file.write_text(
        "study: paper\nspace: {x: {float: [0, 1]}}\nobjectives: {loss: minimize}\ntask: mod:train\n"
        "search: {scheduler: hyperband, searcher: random, r: 1, R: 243, eta: 3}\n"
    )
    plan = answer("plan", str(file))
    assert (plan["trials"], plan["steps"], plan["steps_restart"], len(plan["brackets"])) == (415, 6831, 8457, 6)


BAD: dict[str, tuple[str, str]] = {
    "a typo in a key": (GOOD.replace("objectives:", "objektives:"), "objectives"),
    "a typo in a scheduler": (GOOD.replace("async-hyperband", "asynch-hyperband"), "async-hyperband"),
    "an empty range": (GOOD.replace("int: [4, 32]", "int: [32, 4]"), "width"),
    "log at 0": (GOOD.replace("float: [0.003, 0.5]", "float: [0, 0.5]"), "log"),
    "an unreachable constraint": (GOOD.replace("width * depth <= 80", "width * depth <= 1"), "width * depth <= 1"),
    "a missing data file": (GOOD.replace("data: digits", "data: nosuch.npz"), "nosuch.npz"),
    "an unknown task": (GOOD.replace("task: {classify: {data: digits}}", "task: clasify"), "classify"),
    "no YAML": ("study: [", "1"),
    "nothing": ("", ""),
    "a wrong option": (GOOD.replace("eta: 3,", "eta: 3, options: {promotion: delay},"), "did you mean 'delayed'?"),
    "10 MB": ("study: x\n" + "# " + "x" * 10_000_000, "1,048,576"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("command", ["validate", "plan", "run"])
def test_a_bad_study_is_2_with_a_clear_message(tmp_path: Path, name: str, command: str) -> None:
    """Every bad study ends with exit code 2, names the file and what is wrong, and starts nothing."""
    text, said = BAD[name]
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    args = [command, str(file)] + (["--out", str(tmp_path / "out")] if command == "run" else [])
    result = run(*args, code=2)
    assert said in result.stderr
    assert "bad.yaml" in result.stderr
    assert len(result.stderr) < 2000
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_run_says_why(tmp_path: Path) -> None:
    """An unwritable place and a database that is none end with exit code 1 and the reason, at once."""
    (tmp_path / "file").touch()
    assert "--out" in run("run", str(EXAMPLE), "--out", str(tmp_path / "file"), code=1).stderr
    (tmp_path / "out" / "digits").mkdir(parents=True)
    (tmp_path / "out" / "digits" / "study.db").write_bytes(b"no database" * 500)
    said = run("run", str(EXAMPLE), "--out", str(tmp_path / "out"), code=1).stderr
    assert "the daemon refuses to run" in said
    assert "study.db is no database" in said


def test_validate_json_lists_every_problem(tmp_path: Path) -> None:
    """Two mistakes are two problems, each with its line, as JSON on stdout."""
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("int: [4, 32]", "int: [32, 4]").replace("async-hyperband", "asynch-hyperband"))
    found = answer("validate", str(file), code=2)
    assert found["ok"] is False
    assert len(found["problems"]) == 2
    assert all(p["line"] and p["file"] for p in found["problems"])
    assert "2 problems" in run("validate", str(file), code=2).stderr


# ---------------------------------------------------------------- taking away
def test_export_copies_a_model(written: Written, tmp_path: Path) -> None:
    """`export STUDY TRIAL --to DIR` copies the trial's files; without TRIAL every front trial's, a folder each."""
    root = ("--root", str(written.folder.parent))
    trial = answer("front", "digits", *root)[0]["trial"]
    one = answer("export", "digits", str(trial), "--to", str(tmp_path / "one"), *root)
    assert one["files"]
    assert all(Path(f).is_file() for f in one["files"])
    many = answer("export", "digits", "--to", str(tmp_path / "all"), *root)
    assert {Path(f).relative_to(tmp_path / "all").parts[0] for f in many["files"]} == {
        f"trial-{t}" for t in {p["trial"] for p in answer("front", "digits", *root)}
    }


def test_export_writes_an_optuna_study(written: Written, tmp_path: Path) -> None:
    """The Optuna study has our directions, our points as its trials, and its best trials are our front."""
    import optuna

    root = ("--root", str(written.folder.parent))
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    told = answer("export", "digits", "--optuna", url, *root)
    loaded = optuna.load_study(study_name=told["study"], storage=url)
    assert len(loaded.trials) == told["trials"] >= len(answer("trials", "digits", *root))
    assert [d.name for d in loaded.directions] == ["MINIMIZE"] * 3
    assert any("optimizer.sgd.lr" in t.params for t in loaded.trials)
    assert "already" in run("export", "digits", "--optuna", url, *root, code=1).stderr
    assert "nosuch" in run("export", "digits", "--optuna", "nosuch://x", *root, code=4).stderr


# ---------------------------------------------------------------- help
def test_help_names_every_command() -> None:
    """`searchd --help` and each command's help work; every command has --json."""
    text = run("--help").stdout
    commands = main.list_commands(None)  # type: ignore[attr-defined, arg-type]
    assert len(commands) == len(set(commands)) >= 23
    for command in commands:
        assert command in text
        found = main.get_command(None, command)  # type: ignore[attr-defined, arg-type]
        below = [[name] for name in found.commands] if isinstance(found, click.Group) else [[]]
        for words in below:
            assert "--json" in run(command, *words, "--help").stdout, (command, words)


def test_doctor_looks_at_every_part() -> None:
    """`doctor` finds this installation whole and says what it looked at."""
    checks = {c["name"]: c for c in answer("doctor")}
    assert {"python", "spaces", "kernels", "extra server", "extra worker", "extra ui", "embedded broker"} <= set(checks)
    assert all(c["state"] != "broken" for c in checks.values()), checks
    assert "embedded broker" in run("doctor").stdout


def test_doctor_says_what_is_broken() -> None:
    """A database or broker that does not answer is `broken`, with exit code 1."""
    nowhere = ("--database", "postgresql://127.0.0.1:9/x", "--broker", "redis://127.0.0.1:9/0")
    checks = {c["name"]: c for c in answer("doctor", *nowhere, code=1)}
    assert checks["database"]["state"] == checks["broker"]["state"] == "broken"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script(shell: str) -> None:
    """`completion SHELL` prints what the shell evaluates."""
    assert "_SEARCHD_COMPLETE" in run("completion", shell).stdout
    assert answer("completion", shell)["shell"] == shell


def test_studies_complete(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell completes the names of the studies in the folder."""
    from click.shell_completion import ShellComplete

    monkeypatch.setenv("SEARCHD_ROOT", str(written.folder.parent))
    found = ShellComplete(main, {}, "searchd", "_SEARCHD_COMPLETE").get_completions(["show"], "di")
    assert [c.value for c in found] == ["digits"]


def test_a_service_for_others_needs_a_token(tmp_path: Path) -> None:
    """`serve` refuses to listen elsewhere than on this machine without a token, before anything starts."""
    args = ("serve", "--database", f"sqlite:///{tmp_path}/x.db", "--broker", "redis://127.0.0.1:9/0")
    assert "token" in run(*args, "--host", "0.0.0.0", code=1).stderr
    assert "this machine only" in run("serve", "--local", "--host", "0.0.0.0", code=1).stderr
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("environ", "args", "code", "said"),
    [
        ({"PORT": "many"}, ("serve",), 2, "SEARCHD_PORT = 'many'"),
        ({"BROKER": "amqp://me:s3cret@h"}, ("serve", "--database", "x.db"), 2, "SEARCHD_BROKER = 'amqp://me:***@h'"),
        ({"TOKEN_FILE": "/nowhere"}, ("serve",), 2, "SEARCHD_TOKEN_FILE /nowhere cannot be read"),
        ({"BROKER": "redis://h:port"}, ("worker",), 2, "SEARCHD_BROKER"),
        ({}, ("worker",), 2, "SEARCHD_BROKER"),
        ({"URL": "h:1"}, ("list",), 2, "SEARCHD_URL = 'h:1'"),
        ({"URL": "h:1"}, ("ui",), 2, "SEARCHD_URL = 'h:1'"),
        ({"URL": "http://h:1", "TOKEN": "s3cret é"}, ("list",), 2, "SEARCHD_TOKEN: a token is ASCII"),
    ],
)
def test_a_bad_variable_is_2(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], args: tuple[str, ...], code: int, said: str
) -> None:
    """What the environment says wrongly is named, with its value but never a secret, before anything starts."""
    for name, value in environ.items():
        monkeypatch.setenv(f"SEARCHD_{name}", value)
    shown = run(*args, code=code).stderr
    assert said in shown
    assert "s3cret" not in shown


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_password_is_on_no_command_line(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """What `serve` and `worker` become gets its URLs by environment, however they were given."""
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, argv: became.append(argv))
    urls = {"SEARCHD_DATABASE": "postgresql://me:s3cret@h/d", "SEARCHD_BROKER": "redis://:s3cret@h/0"}
    for name in urls:
        monkeypatch.setenv(name, "")
    given = ("--broker", urls["SEARCHD_BROKER"])
    given += ("--database", urls["SEARCHD_DATABASE"]) if command == "serve" else ()
    assert "s3cret" not in run(command, *given, "--json").output
    assert became
    assert "s3cret" not in " ".join(became[0])
    assert os.environ["SEARCHD_BROKER"] == urls["SEARCHD_BROKER"]


def test_the_docs_name_every_command() -> None:
    """docs/cli.md has every command of the program, and every exit code."""
    text = (EXAMPLE.parents[1] / "docs" / "cli.md").read_text()
    for command in main.list_commands(None):  # type: ignore[attr-defined, arg-type]
        assert f"`{command}" in text, command
    assert all(f"| {code} |" in text for code in (0, 1, 2, 3, 4, 130))
