"""The page without a browser: Streamlit's own AppTest over a real folder of studies, and where the page reads from."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.support.study_db import write_study
from ui import session

UI = Path(session.__file__).parent


def _study_page() -> None:
    from ui.screens import study

    study.page()


def _workers_page() -> None:
    from ui.screens import workers

    workers.page()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty root that the page reads; its clients are closed at the end."""
    folder = tmp_path / "out"
    monkeypatch.setenv("SEARCHD_ROOT", str(folder))
    monkeypatch.delenv("SEARCHD_URL", raising=False)
    monkeypatch.setattr(sys, "argv", ["app.py"])
    yield folder
    session.client().close()
    st.cache_resource.clear()


def _html(test: AppTest) -> str:
    """All HTML on the page."""
    found: list[str] = []

    def walk(block: Any) -> None:
        for child in block.children.values():
            if getattr(child, "type", "") == "html":
                found.append(child.proto.body)
            if hasattr(child, "children"):
                walk(child)

    walk(test._tree)
    return "\n".join(found)


def _run(page: Any, **query: str) -> AppTest:
    make: Any = AppTest.from_function if callable(page) else AppTest.from_file
    test: AppTest = make(page, default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception
    return test


@pytest.mark.usefixtures("root")
def test_an_empty_root_says_how_to_begin() -> None:
    """Without a study every page says why it is empty and what to do."""
    assert "searchd run examples/digits.yaml" in _html(_run(str(UI / "app.py")))
    assert "No study to show" in _html(_run(_study_page))
    assert "No worker is alive" in _html(_run(_workers_page))


def test_the_list_has_every_study(root: Path) -> None:
    """Each study of the root is there with its state and its trials."""
    write_study(root / "digits").close()
    write_study(root / "letters", name="letters", seed=3, upto=30).close()
    shown = _html(_run(str(UI / "app.py")))
    assert "2 in " in shown
    assert "40 / 40" in shown
    assert ">done<" in shown
    assert ">running<" in shown


def test_the_study_in_the_address_is_shown(root: Path) -> None:
    """The address names study, trial and point; without one it is the study that runs."""
    write_study(root / "digits").close()
    write_study(root / "letters", name="letters", seed=3, upto=30).close()
    shown = _html(_run(_study_page, study="digits", trial="4", point="2"))
    assert "<h1>digits</h1>" in shown
    assert "Trial 4 · point 2" in shown
    assert "measured again, alone, from the exported file" in shown
    assert "<h1>letters</h1>" in _html(_run(_study_page))


def test_an_unknown_trial_is_said(root: Path) -> None:
    """A trial that is not there is a sentence and not a stack trace; so is a broken number."""
    write_study(root / "digits").close()
    assert "has no trial 999" in _html(_run(_study_page, study="digits", trial="999"))
    assert "Nothing selected" in _html(_run(_study_page, study="digits", trial="4x", point="?"))


def test_a_failed_trial_shows_its_error_escaped(root: Path) -> None:
    """What a worker said is text: markup in it is not markup on the page."""
    written = write_study(root / "digits")
    with written.store.transaction() as tx:
        tx.set_trial(written.id, 5, error="Traceback\nValueError: <script>alert(1)</script>")
    written.close()
    shown = _html(_run(_study_page, study="digits", trial="5"))
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


def test_a_paused_trial_shows_why_it_last_began(root: Path) -> None:
    """Its reason is of its last start, and reads so."""
    written = write_study(root / "digits")
    with written.store.transaction() as tx:
        tx.set_trial(written.id, 5, status="paused", reason="promoted: rank 1 of 3 at rung 1")
    written.close()
    assert "it last began because: promoted: rank 1 of 3 at rung 1" in _html(
        _run(_study_page, study="digits", trial="5")
    )


@pytest.mark.usefixtures("root")
def test_a_daemon_that_is_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer from a daemon is a message on every page."""
    monkeypatch.setenv("SEARCHD_URL", "http://127.0.0.1:9")
    for page in (str(UI / "app.py"), _study_page, _workers_page):
        assert "No answer" in _html(_run(page))


def test_where_the_page_reads_from() -> None:
    """An argument goes before the environment, a root that is given before a URL that is only set."""
    assert session.source([], {}) == session.Source(None, "out")
    assert session.source([], {"SEARCHD_URL": "http://a"}) == session.Source("http://a", "out")
    assert session.source(["--root", "x"], {"SEARCHD_URL": "http://a"}) == session.Source(None, "x")
    assert session.source(["--url", "http://b", "--other"], {"SEARCHD_URL": "http://a"}).url == "http://b"
    assert session.source([], {"SEARCHD_ROOT": "y"}).root == "y"


def test_no_module_of_ui_shadows_another() -> None:
    """Streamlit puts ui/ first on the path: none of its files may have the name of a module that others import."""
    names = {p.stem if p.suffix == ".py" else p.name for p in UI.iterdir() if p.suffix == ".py" or p.is_dir()}
    names -= {"__init__", "__pycache__", ".streamlit"}
    assert "app" in names
    assert not names & set(sys.stdlib_module_names)
    assert [n for n in sorted(names) if importlib.util.find_spec(n) is not None] == []
    assert "pages" not in names, "Streamlit takes a folder of that name for its own"


def test_the_page_imports_only_the_client() -> None:
    """Of searchd, ui/ imports the client and its errors and nothing else."""
    found = set()
    for path in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found |= {a.name for a in node.names}
    ours = {m for m in found if m.split(".")[0] in ("searchd", "workers", "kernels", "spaces")}
    assert ours == {"searchd.client", "searchd.errors"}
