"""`searchd run` on a folder whose study was deepened, or whose file asks for another R."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.errors import Refused
from searchd.folder import Folder
from searchd.local_folder import is_over
from searchd.store import open_store
from spaces.study import Study
from tests.support.logged import HYPERBAND, logged
from tests.support.world import spec


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Folder]:
    store = open_store(f"sqlite:///{tmp_path / 'study.db'}")
    logged(store, 9, 3)
    store.close()
    folder = Folder(tmp_path)
    yield folder
    folder.close()


def file(R: int) -> Study:
    return Study.parse(spec(search={**HYPERBAND, "R": R}, budget={"trials": None}))


@pytest.mark.parametrize("R", [9, 3, 1])
def test_a_file_may_keep_the_r_that_it_began_with(reader: Folder, tmp_path: Path, R: int) -> None:
    """The folder has R = 9: a file with 9 is the same study, one with 3 or 1 that before it was deepened."""
    assert is_over(reader, file(R), tmp_path)


@pytest.mark.parametrize(("R", "said"), [(27, "deepen .* --max-resource 27"), (4, "search.R"), (12, "search.R")])
def test_another_r_is_told(reader: Folder, tmp_path: Path, R: int, said: str) -> None:
    """A larger R is refused with the command that does it; one that is no power of eta apart is another study."""
    with pytest.raises(Refused, match=said):
        is_over(reader, file(R), tmp_path)
