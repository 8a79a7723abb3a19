"""`searchd gc`: what a folder's study can do without, said and removed."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from searchd.cli import main
from searchd.storage import LocalStorage
from tests.support.world import World, spec


def test_gc_says_and_removes(tmp_path: Path) -> None:
    """With --dry-run nothing goes; then what was said goes, once; --final leaves the front's alone."""
    home = tmp_path / "toy"
    home.mkdir()
    world = World(home, slots=2)
    study = world.submit(spec(search={"scheduler": "asha", "searcher": "random", "r": 1, "R": 3, "eta": 3}))
    assert world.run(study) == "done"
    with world.store.reading() as reader:
        newest = [kept for t in reader.trials(study) if (kept := reader.checkpoint(study, t.trial)) is not None]
    world.close()
    storage = LocalStorage(home)
    for kept in newest:
        for name in (kept.path, f"{kept.path}.json", f"trials/{kept.trial}/ckpt-0-a1.safetensors"):
            storage.write(name, b"0123456789")
        storage.write(f"trials/{kept.trial}/model.onnx", b"no checkpoint")

    def gc(*options: str) -> dict[str, object]:
        told = CliRunner().invoke(main, ["gc", study, "--root", str(tmp_path), "--json", *options])
        assert told.exit_code == 0, told.output
        answer: dict[str, object] = json.loads(told.stdout)
        return answer

    before = storage.sizes("trials")
    said = gc("--dry-run")
    assert storage.sizes("trials") == before
    assert (said["removed"], said["files"], said["bytes"]) == (False, len(newest), 10 * len(newest))
    assert gc() == {**said, "removed": True}
    assert gc()["files"] == 0
    assert all((home / kept.path).exists() for kept in newest)
    assert gc("--final")["kept_files"] == 2, "one objective: one trial is the front"
    assert len([name for name in storage.sizes("trials") if name.endswith("model.onnx")]) == len(newest)
