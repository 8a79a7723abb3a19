"""`searchd serve --local` with real processes: many studies, commands from the CLI, a clean end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from searchd import Client
from searchd.cli import main

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(200)]

STUDY = """
study: {name}
space: {{width: {{int: [4, 8]}}, depth: {{int: [1, 2]}}}}
use: [optimizers/basic]
objectives: {{val_error: minimize, latency_ms: minimize}}
search: {{scheduler: asha, searcher: random, r: 1, R: 3, eta: 3}}
budget: {{trials: {trials}, parallel: 2}}
task: classify
"""


def test_a_service_on_this_machine(tmp_path: Path) -> None:
    """It takes studies, shows them by HTTP and from the folder, obeys commands, guards itself, and ends cleanly."""
    root = tmp_path / "out"
    argv = [sys.executable, "-P", "-c", "from searchd.cli import main; main()", "serve", "--local", "--root", str(root)]
    service = subprocess.Popen(
        [*argv, "--port", "0", "--no-page", "--json"], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert service.stdout is not None
        at = json.loads(service.stdout.readline())
        for name, trials in (("one", 3), ("two", 500)):
            file = tmp_path / f"{name}.yaml"
            file.write_text(STUDY.format(name=name, trials=trials))
            told = CliRunner().invoke(main, ["submit", str(file), "--root", str(root), "--json"])
            assert told.exit_code == 0, told.output
        token = Path(at["token_file"]).read_text()
        assert Path(at["token_file"]).stat().st_mode & 0o077 == 0
        assert httpx.get(f"{at['url']}/v1/studies").status_code == 401
        with Client(at["url"], token) as daemon, Client(root=root) as folder:
            assert daemon.wait("one", timeout_s=120)["status"] == "done"
            assert folder.front("one") == daemon.front("one") != []
            assert len(folder.workers()) == 2
            run = CliRunner().invoke(main, ["pause", "two", "--root", str(root)])
            assert run.exit_code == 0, run.output
            assert daemon.show("two")["status"] == "paused"
            run = CliRunner().invoke(main, ["resume", "two", "--trials", "2", "--root", str(root)])
            assert run.exit_code == 0, run.output
            assert daemon.spec("two")["budget"] == {"trials": 2, "parallel": 2, "hours": None, "steps": None}
            assert daemon.wait("two", timeout_s=120)["status"] in {"stopped", "done"}
            pids = [w["pid"] for w in daemon.workers()]
        second = subprocess.run([*argv, "--json"], capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "in use" in second.stderr
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=30) == 0
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert not (root / "daemon.json").exists()
    finally:
        if service.poll() is None:
            service.kill()
        service.communicate()
