"""`import searchd` is light."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "optuna", "celery", "sqlalchemy", "redis", "fastapi", "pandas", "streamlit", "sklearn", "onnxruntime")


def loaded(code: str) -> set[str]:
    tail = "; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code + tail], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_searchd_loads_nothing_heavy() -> None:
    """The package, its client and its study reader load neither torch, optuna, celery nor sqlalchemy."""
    modules = loaded("import searchd; from searchd import Client, Study, SearchdError")
    assert "searchd.client" in modules
    assert not modules & set(HEAVY)


def test_the_command_line_loads_nothing_heavy() -> None:
    """`searchd --help` and completion stay quick: the commands' parts load when they are called."""
    assert not loaded("import searchd.cli, searchd.cli.studies, searchd.cli.files") & set(HEAVY)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """The lazy package answers like any other for a name that it does not have."""
    import searchd

    assert set(dir(searchd)) == {"Client", "SearchdError", "Study", "__version__"}
    assert not hasattr(searchd, "Cilent")
