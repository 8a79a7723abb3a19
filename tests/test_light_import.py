"""`import searchd` is light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


def test_validate_and_plan_work_on_the_base_install() -> None:
    """Without the extras a study can be read and planned; what it could not run is said in the plan."""
    hide = f"import sys; [sys.modules.__setitem__(name, None) for name in {(*HEAVY, 'scipy')!r}]; "
    call = "from searchd.cli import main; main(sys.argv[1:])"
    example = str(Path(__file__).parents[1] / "examples" / "digits.yaml")
    for command, said in (("validate", "fine"), ("plan", "needs scipy")):
        done = subprocess.run(
            [sys.executable, "-P", "-c", hide + call, command, example], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


def test_a_daemon_starts_without_what_it_may_never_need() -> None:
    """A restart waits for every import: Celery comes with the first job, Alembic with an old schema, httpx with a
    webhook, the Prometheus client with a scrape, a searcher, a scheduler and a built-in task with the first study."""
    modules = loaded("import searchd.lifetime, searchd.store.sql, searchd.transport.redis")
    late = {"celery", "kombu", "alembic", "httpx", "prometheus_client", "optuna", "scipy", "torch", "pandas",
            "websockets", "yaml", "searchd.hooks", "searchd.schedulers.asha", "searchd.searchers.auto",
            "searchd.searchers.random", "spaces.builtin.classify", "sqlalchemy.dialects.postgresql"}  # fmt: skip
    assert "searchd.loop" in modules
    assert not modules & late


def test_what_comes_late_comes() -> None:
    """Every built-in task, scheduler and searcher is found under its name, by the module that brings it."""
    from searchd.search.algorithms import SCHEDULERS, SEARCHERS
    from spaces.builtin import BUILT_IN

    assert {name: BUILT_IN[name].name for name in BUILT_IN} == {name: name for name in BUILT_IN}
    assert BUILT_IN.get("none") is None
    assert "none" not in BUILT_IN
    made = [row.make for row in (*SCHEDULERS.values(), *SEARCHERS.values())]
    assert len({make.__qualname__ for make in made}) == len(made)
