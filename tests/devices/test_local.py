"""Devices of this machine without a service: registered by asking what a worker here would be."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from searchd import Client
from searchd.cli import main
from searchd.errors import NotFound, Refused
from searchd.local_devices import add_local, profile_local, remove_local
from spaces.study import Study
from tests.support.devices import NET


def test_added_shown_and_removed_by_commands(tmp_path: Path) -> None:
    """The commands say what is next, list what there is, and exit with 3 for what is not there."""

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["device", *words, "--root", str(tmp_path)])
        return done.exit_code, done.output

    assert run("list") == (0, "no devices yet: `searchd device add NAME` registers one\n")
    code, said = run("add", "cpu", "--runtime", "torch")
    assert (code, "torch" in said, "searchd device profile cpu STUDY" in said) == (0, True, True)
    assert "no profile: searchd device profile cpu STUDY" in run("show", "cpu")[1]
    assert "cpu" in run("list")[1]
    assert run("remove", "cpu") == (0, "cpu: removed\n")
    code, said = run("show", "cpu")
    assert (code, "there are: none yet" in said) == (3, True)


def test_what_is_not_there(tmp_path: Path) -> None:
    """A device that is none, or is not registered: said before any process starts."""
    with pytest.raises(Refused, match="cannot be asked here: device"):
        add_local(tmp_path, "no name", None)
    with pytest.raises(NotFound, match="none is registered"):
        remove_local(tmp_path, "cpu")
    with pytest.raises(NotFound, match="no device 'cpu'"):
        profile_local(tmp_path, "cpu", Study.parse(NET), 4, print)
    add_local(tmp_path, "rig", None)
    with pytest.raises(NotFound, match="no device 'cpu'"):
        remove_local(tmp_path, "cpu")
    with Client(root=tmp_path) as client:
        assert [(d["name"], d["identity"].split(" · ")[0]) for d in client.devices()] == [("rig", "rig")]
