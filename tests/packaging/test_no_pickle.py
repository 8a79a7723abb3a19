"""Nothing of ours unpickles, evaluates YAML tags or runs text as code: by the syntax tree of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("searchd", "workers", "spaces", "kernels", "ui")
MODULES = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal",
                     "jsonpickle"})
SAFE_YAML = frozenset({"safe_load", "safe_load_all", "safe_dump", "parse"})


def name_of(call: ast.Call) -> str:
    """`np.load` of `np.load(…)`, as it is written."""
    try:
        return ast.unparse(call.func)
    except ValueError:
        return ""


def given(call: ast.Call, keyword: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == keyword), None)


def faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {a.name}" for a in node.names if a.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield f"from {node.module} import"
        elif isinstance(node, ast.Call):
            name = name_of(node)
            head, _, last = name.rpartition(".")
            if head == "torch" and last == "load" and given(node, "weights_only") != "True":
                yield f"{name} without weights_only=True"
            if head in ("np", "numpy") and last in ("load", "fromfile") and given(node, "allow_pickle") != "False":
                yield f"{name} without allow_pickle=False"
            if last == "read_array" and given(node, "allow_pickle") != "False":
                yield f"{name} without allow_pickle=False"
            if head == "yaml" and last.islower() and last not in SAFE_YAML:
                yield name
            if head == "yaml" and last == "parse" and given(node, "Loader") != "yaml.SafeLoader":
                yield "yaml.parse without SafeLoader"
            if last in ("read_pickle", "to_pickle") or name in ("eval", "os.system", "os.popen"):
                yield name
            if given(node, "shell") == "True":
                yield f"{name} with a shell"
            for keyword in ("task_serializer", "result_serializer", "serializer"):
                if given(node, keyword) not in (None, "'json'"):
                    yield f"{keyword}={given(node, keyword)}"
            accepted = given(node, "accept_content")
            if accepted is not None and accepted != "['json']":
                yield f"accept_content={accepted}"


FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_nothing_of_ours_unpickles() -> None:
    """Every file of every package: no pickle and its like, arrays and weights without objects, YAML without tags."""
    assert len(FILES) > 250
    found = {path.relative_to(ROOT).as_posix(): list(faults(ast.parse(path.read_text()))) for path in FILES}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("text", ["import pickle", "from joblib import load", "torch.load(f)", "np.load(f)",
    "yaml.load(f)",
                                  "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "eval('1')",
                                  "subprocess.run(x, shell=True)", "yaml.parse(x, Loader=yaml.Loader)",
                                  "pd.read_pickle(f)",
                                  "app.conf.update(accept_content=['pickle'])"])  # fmt: skip
def test_it_would_be_found(text: str) -> None:
    """Each of these is a fault: the test above can fail."""
    assert list(faults(ast.parse(text)))


def test_workers_take_json_only() -> None:
    """The Celery application of the workers accepts JSON and nothing else."""
    text = (ROOT / "workers" / "app.py").read_text()
    assert 'accept_content=["json"]' in text.replace("'", '"')
