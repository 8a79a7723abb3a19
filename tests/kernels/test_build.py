"""C++ on first use: built once for a source and flags, by many processes at a time, never loaded where others write."""

from __future__ import annotations

import os
import subprocess
import sys
from ctypes import CDLL
from pathlib import Path

import pytest

from kernels import _build
from kernels._build import BuildError

WHY = _build.against()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
BUILD = _build.library.__wrapped__


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv(_build.FOLDER, str(tmp_path / "built"))
    return tmp_path / "built"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small operator: C++ that includes what lies beside it."""
    folder = tmp_path / "small" / "simd"
    folder.mkdir(parents=True)
    (folder / "answer.h").write_text("static const int answer = 42;\n")
    (folder / "main.cpp").write_text('#include "answer.h"\nextern "C" int ask() { return answer + VECTOR; }\n')
    return folder / "main.cpp"


def answer(library: CDLL) -> int:
    return int(library.ask())


def test_built_once(source: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time it is loaded, not compiled; a changed header or another level is another library."""
    assert answer(BUILD(source, "DEFAULT")) == 42 + 16
    kept = list(place.iterdir())
    assert [p.suffix for p in kept] == [".so"]
    with monkeypatch.context() as patch:
        patch.setattr(_build, "_compile", lambda *_: pytest.fail("compiled again"))
        assert answer(BUILD(source, "DEFAULT")) == 42 + 16
    source.with_name("answer.h").write_text("static const int answer = 43;\n")
    assert answer(BUILD(source, "DEFAULT")) == 43 + 16
    assert len(list(place.iterdir())) == 2


def test_at_once(source: Path, place: Path) -> None:
    """Processes that build at the same time all have it; one library is left, and no halves."""
    line = (
        "import sys; from pathlib import Path; from kernels._build import library;"
        "print(library(Path(sys.argv[1]), 'DEFAULT').ask())"
    )
    root = Path(_build.__file__).parents[1]
    ran = [
        subprocess.Popen([sys.executable, "-c", line, str(source)], cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [p.communicate()[0].strip() for p in ran] == ["58"] * 2
    assert [p.suffix for p in place.iterdir()] == [".so"]


def test_what_does_not_compile_is_told(source: Path, place: Path) -> None:
    """The compiler's first error, and nothing is left behind."""
    source.write_text("int wrong = nowhere;\n")
    with pytest.raises(BuildError, match=r"main.cpp was not built: .* ended with 1: .*nowhere"):
        BUILD(source, "DEFAULT")
    assert list(place.iterdir()) == []


def test_a_folder_of_others_is_not_trusted(source: Path, place: Path) -> None:
    """A library that anybody could have written is not loaded."""
    BUILD(source, "DEFAULT")
    place.chmod(0o777)
    with pytest.raises(BuildError, match=r"can be written by others: remove it, or set SEARCHD_KERNEL_FOLDER"):
        BUILD(source, "DEFAULT")


def test_a_folder_that_cannot_be_is_told(source: Path, place: Path) -> None:
    """A file where the folder should be: an error of ours, which the operator answers by running in torch."""
    place.write_text("")
    with pytest.raises(BuildError, match=r"main.cpp was not built"):
        BUILD(source, "DEFAULT")


def test_the_level_is_torchs() -> None:
    """ATEN_CPU_CAPABILITY lowers it, as it does torch's own."""
    env = os.environ | {"ATEN_CPU_CAPABILITY": "default"}
    line = "from kernels._build import level; print(level())"
    root = Path(_build.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", line], cwd=root, env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "DEFAULT"
