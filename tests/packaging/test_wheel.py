"""What we ship: a built wheel, installed elsewhere, brings our own packages and their data."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOP = ("kernels", "searchd", "spaces", "ui", "workers")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dist, target = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    # A copy of what git tracks or would track: a build must not leave build/ or *.egg-info behind.
    source = tmp_path_factory.mktemp("source")
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:
        if name.startswith((*TOP, "pyproject", "README", "LICENSE")) and (ROOT / name).is_file():
            to = source / name
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = next(dist.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_the_package_list_names_every_package() -> None:
    """The explicit list in pyproject.toml is the set of folders that hold Python files."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for top in TOP
        for p in (ROOT / top).rglob("*.py")
        if "__pycache__" not in p.parts
    }
    data_only = {"spaces.library"}
    assert found - listed == set(), "folders with Python files that the wheel would leave out"
    assert listed - found - data_only == set(), "packages that are listed and have no Python file"


def test_a_wheel_elsewhere_imports_our_packages(installed: Path, tmp_path: Path) -> None:
    """From another folder, the packages that PyPI also has by name (`kernels`, `spaces`) are ours."""
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui" / "__init__.py").write_text(
        "raise RuntimeError('a folder where the user stands must not shadow ours')"
    )
    code = f"import {', '.join(TOP)}; print(*[m.__file__ for m in ({', '.join(TOP)})], sep='\\n')"
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {Path(line).parent for line in done.stdout.split()} == {installed / name for name in TOP}


def test_a_wheel_elsewhere_has_its_data(installed: Path) -> None:
    """The library spaces, the JSON Schema, the migrations, C++ and the type markers travel with the wheel."""
    assert {p.suffix for p in (installed / "kernels" / "lowbit_linear" / "simd").iterdir()} == {".cpp", ".h"}
    assert (installed / "spaces" / "library" / "optimizers.yaml").is_file()
    assert (installed / "spaces" / "study.schema.json").is_file()
    assert any((installed / "searchd" / "store" / "migrations" / "versions").glob("*.py"))
    assert (installed / "searchd" / "py.typed").is_file()
