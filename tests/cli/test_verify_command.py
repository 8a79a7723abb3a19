"""What `searchd verify` and the end of a reproduction print, and with which exit code."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from searchd.cli import main
from searchd.cli.again import changed, differs, show
from spaces.reproduces import Compared, compared

FOUND: dict[str, Any] = {
    "folder": "m", "device": "cpu · here", "pace": 0.98, "waited_s": 0.0,
    "exports": [{
        "card": "m/card.json", "task": "classify", "study": "s-1", "trial": 3, "files": 3, "recorded_on": "cpu · here",
        "runtime": "onnxruntime", "comparable": True, "pace": 1.0, "slow": False,
        "points": [{"point": 2, "metrics": [
            {"metric": "val_error", "recorded": 5.0, "again": 5.0, "exact": True, "same": True},
            {"metric": "latency_ms", "recorded": 0.01, "again": 0.0109, "exact": False, "spread": 0.03, "off": 0.09,
             "same": True},
        ]}],
    }],
}  # fmt: skip


def answered(monkeypatch: pytest.MonkeyPatch, stdout: str, stderr: str = "") -> list[list[str]]:
    """The measuring process prints this; what it was called with."""
    calls: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(argv)
        return subprocess.CompletedProcess(argv, 0, stdout, stderr)

    monkeypatch.setattr("searchd.cli.verify.subprocess.run", run)
    return calls


def changed_to(**row: Any) -> str:
    found = json.loads(json.dumps(FOUND))
    found["exports"][0]["points"][0]["metrics"][1].update(row)
    return json.dumps(found)


def test_a_verified_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded beside here, exact numbers as equal, latencies with how far off and apart; options go down."""
    calls = answered(monkeypatch, "a warning of a library\n" + json.dumps(FOUND))
    result = CliRunner().invoke(main, ["verify", "m", "--repeats", "3", "--within", "5", "--data", "d.npz"])
    assert result.exit_code == 0, result.output
    assert "3 files whole" in result.output
    assert "equal" in result.output
    assert "+9.0%, repeats lie 3.0% apart" in result.output
    assert calls[0][4:] == ["m", "--repeats", "3", "--within", "0.05", "--data", "d.npz"]
    as_json = CliRunner().invoke(main, ["verify", "m", "--json", "--exact"])
    assert json.loads(as_json.output) == FOUND
    assert calls[1][-1] == "--exact"


@pytest.mark.parametrize(("row", "code"), [({"same": False}, 1), ({"same": None}, 0)])
def test_what_is_not_as_recorded(monkeypatch: pytest.MonkeyPatch, row: Mapping[str, Any], code: int) -> None:
    """Exit code 1 for a latency beyond the bound; none where it was recorded elsewhere."""
    answered(monkeypatch, changed_to(**row))
    assert CliRunner().invoke(main, ["verify", "m"]).exit_code == code


def test_a_machine_that_is_slow_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both paces, and that what is off is not judged; nothing of it at full speed."""
    found = json.loads(changed_to(same=None))
    answered(monkeypatch, json.dumps(found))
    assert "full speed" not in CliRunner().invoke(main, ["verify", "m"]).output
    found["exports"][0] |= {"pace": 0.66, "slow": True}
    answered(monkeypatch, json.dumps(found))
    result = CliRunner().invoke(main, ["verify", "m"])
    said = " ".join(result.output.split())
    assert "66% of its full speed when latencies were recorded, at 98% now" in said
    assert result.exit_code == 0


def test_latencies_of_another_device_are_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both devices are named."""
    found = json.loads(json.dumps(FOUND))
    found["exports"][0] |= {"comparable": False, "recorded_on": "cpu · there", "runtime": "torch"}
    answered(monkeypatch, json.dumps(found))
    said = " ".join(CliRunner().invoke(main, ["verify", "m"]).output.split())
    assert "recorded by torch on cpu · there, and are those of cpu · here here" in said


@pytest.mark.parametrize(
    ("stdout", "stderr", "code", "said"),
    [
        ('{"error": "no card", "kind": "NotFound"}', "", 3, "no card"),
        ('{"error": "cut short", "kind": "Corrupt"}', "", 1, "cut short"),
        ("", "ModuleNotFoundError: No module named 'onnx'", 1, "pip install 'searchd[worker]'"),
        ("", "Killed", 1, "the measuring process ended: Killed"),
    ],
)
def test_errors_of_the_measuring_process(
    monkeypatch: pytest.MonkeyPatch, stdout: str, stderr: str, code: int, said: str
) -> None:
    """Each error comes with its own exit code, and never as a stack trace."""
    answered(monkeypatch, stdout, stderr)
    result = CliRunner().invoke(main, ["verify", "m"])
    assert result.exit_code == code
    assert said in result.output
    assert "Traceback" not in result.output


def printed(rows: list[Compared], libraries: Mapping[str, tuple[str, str]] | None = None) -> str:
    out = io.StringIO()
    show(Console(file=out, width=150), rows, libraries or {})
    return out.getvalue()


def test_the_end_of_a_reproduction() -> None:
    """Equal numbers are said to be; one that differs is, with the libraries that are others, or that none is."""
    study = {
        "objectives": {"val_error": {}, "worth": {"formula": "val_error + latency_ms"}},
        "reproduces": {"points": [{"point": 1, "recorded": {"val_error": 2.5, "latency_ms": 0.1, "worth": 2.6}}]},
    }
    good = compared(study, [{"point": 1, "metrics": {"val_error": 2.5, "latency_ms": 0.12, "worth": 2.62}}])
    assert [(r.metric, r.exact) for r in good] == [("val_error", True), ("latency_ms", False), ("worth", False)]
    assert not differs(good)
    said = printed(good)
    assert "reproduced: 1 numbers that training decides are equal" in said
    assert "+20.0%, measured again" in said
    bad = compared(study, [{"point": 1, "metrics": {"val_error": 2.500000001, "latency_ms": 0.1}}])
    assert differs(bad)
    assert "torch was 2.6, here it is 2.7" in printed(bad, {"torch": ("2.6", "2.7")})
    assert "not reproduced: 1 of 1" in printed(bad)
    assert "may have changed" in " ".join(printed(bad).split())
    missing = compared(study, [])
    assert differs(missing)
    said = " ".join(printed(missing).split())
    assert "not reproduced: nothing came out again, for it did not run to its end" in said
    assert "no seed decides" not in said


def test_the_libraries_that_are_others(tmp_path: Path) -> None:
    """Those of a card that a reproduction wrote are compared by name; without a card there is nothing to say."""
    then = {"torch": "2.6", "numpy": "2.4"}
    assert changed(then, tmp_path) == {}
    (tmp_path / "card.json").write_text(json.dumps({"libraries": {"torch": "2.7", "numpy": "2.4", "onnx": "1"}}))
    assert changed(then, tmp_path) == {"torch": ("2.6", "2.7")}
