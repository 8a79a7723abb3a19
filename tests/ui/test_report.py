"""The report of a study: three files that need nothing else."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from searchd.client import Client
from tests.support.browser import ROOT, near
from tests.support.study_db import write_study
from ui import report, theme


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that ended, and its report."""
    place = tmp_path_factory.mktemp("report") / "digits"
    write_study(place).close()
    with Client(root=place.parent) as client:
        report.write(client, "digits", place, now=1_700_000_100.0)
    return place


def test_the_csv_is_the_front(folder: Path) -> None:
    """front.csv has a row a point, in the order of the front, with metrics and config."""
    table = pd.read_csv(folder / "front.csv")
    front = Client(root=folder.parent).front("digits")
    assert list(zip(table["trial"], table["point"], strict=True)) == [(p["trial"], p["point"]) for p in front]
    assert table["val_error"].tolist() == pytest.approx([p["metrics"]["val_error"] for p in front])
    assert table["config.width"].tolist() == [p["config"]["width"] for p in front]
    assert table["verified"].all()


def test_the_picture_shows_the_front(folder: Path) -> None:
    """front.png is a picture with the colours of the front and of the other trials."""
    with Image.open(folder / "front.png") as image:
        assert image.width > 1200
        assert image.height > 400
    assert near(folder / "front.png", theme.FRONT) > 1000
    assert near(folder / "front.png", theme.DOMINATED) > 300


def test_the_page_holds_all_that_it_needs(folder: Path) -> None:
    """report.html loads nothing from elsewhere and has the whole front in it."""
    text = (folder / "report.html").read_text()
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:|#)", outside)
    assert "@import" not in outside
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert held is not None
    data = json.loads(held.group(1))
    front = Client(root=folder.parent).front("digits")
    assert all(f"{p['trial']}|{p['point']}" in data["details"] for p in front)
    assert {"latency_ms|val_error", "bytes|val_error"} <= set(data["fronts"])
    assert {"parallel", "curves", "ladder0"} == set(data["figures"])


def test_the_same_study_gives_the_same_report(folder: Path, tmp_path: Path) -> None:
    """Nothing in the page and the table depends on when and where it is written but the time printed."""
    with Client(root=folder.parent) as client:
        again = report.write(client, "digits", tmp_path, now=1_700_000_100.0)
    assert again[0].read_bytes() == (folder / "report.html").read_bytes()
    assert again[1].read_bytes() == (folder / "front.csv").read_bytes()


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    """An error or a value of a config that ends a script element does not end ours."""
    place = tmp_path / "odd"
    written = write_study(place, name="odd", trials=8)
    with written.store.transaction() as tx:
        tx.set_trial(written.id, 5, error="</script><script>alert(1)</script>")
        known = tx.trial(written.id, 0)
        assert known is not None
        tx.set_trial(written.id, 0, config={**known.config, "note": "</script><b>"})
    written.close()
    with Client(root=tmp_path) as client:
        path = report.write(client, "odd", place)[0]
    text = path.read_text()
    assert "alert(1)" in text
    assert "<script>alert" not in text
    held = text.split('id="data">', 1)[1].split("</script>", 1)[0]
    assert "</script><b>" in json.dumps(json.loads(held)["figures"]["parallel"])


@pytest.mark.parametrize("upto", [2, 5])
def test_a_study_without_a_front_says_why(tmp_path: Path, upto: int) -> None:
    """A report of a study that has no point yet is written too, and says why there is nothing."""
    write_study(tmp_path / "young", name="young", upto=upto).close()
    with Client(root=tmp_path) as client:
        page, table, picture = report.write(client, "young", tmp_path / "to")
    assert re.search(r"No trial yet|No report yet|No trial has reached a rung", page.read_text())
    assert pd.read_csv(table).empty
    assert Image.open(io.BytesIO(picture.read_bytes())).width > 0


def test_one_objective_is_enough(tmp_path: Path) -> None:
    """A study with a single objective has a report: one best point."""
    write_study(tmp_path / "one", name="one", trials=10, objectives={"val_error": "minimize"}).close()
    with Client(root=tmp_path) as client:
        page = report.write(client, "one", tmp_path / "one")[0]
    assert "The front: 1 point" in page.read_text()


def test_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    """`python -P -m ui.report FOLDER` writes into the folder; a wrong one is a sentence and exit code 1."""
    (folder / "report.html").unlink()
    run = [sys.executable, "-P", "-m", "ui.report"]
    how: Any = {"capture_output": True, "text": True, "cwd": tmp_path}
    how["env"] = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([*run, str(folder)], check=False, **how)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "report.html").stat().st_size > 1_000_000
    assert not list(folder.glob(".report*"))
    wrong = subprocess.run([*run, str(tmp_path)], check=False, **how)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
    assert "Traceback" not in wrong.stderr
