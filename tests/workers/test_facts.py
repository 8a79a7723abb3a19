"""A device is registered only where it can measure."""

from __future__ import annotations

import json
import shutil

import pytest

from workers.facts import main


def test_a_cpu_says_what_its_figures_hold_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Identity, runtime, driver, clocks and threads, as JSON."""
    assert main(["cpu"]) == 0
    assert {"device", "runtime", "driver", "clocks", "threads"} <= set(json.loads(capsys.readouterr().out))


def test_a_runtime_of_accelerators_is_refused_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be told only by the profile otherwise."""
    assert main(["cpu", "torch-cuda"]) == 2
    assert "is a CPU here" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="an accelerator may be here")
def test_an_accelerator_that_does_not_answer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """No driver, no device."""
    assert main(["cuda"]) == 2
    assert "no accelerator 0 answers" in capsys.readouterr().err
