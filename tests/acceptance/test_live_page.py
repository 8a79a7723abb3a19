"""The page on a study that really runs: daemon, workers and training behind it, a real Chromium before it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, chromium, drawn, near, page_server, pick, words
from tests.support.runs import running
from ui import theme
from ui.wording import config_rows

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.yaml"


def test_a_click_on_the_front_of_a_running_study_shows_the_config(tmp_path: Path) -> None:
    """While two workers train, the page shows the growing front, and a click on a point shows that trial's config."""
    file, out = tmp_path / "digits.yaml", tmp_path / "out"
    endless = "budget: {trials: 5000, parallel: 2}\n"
    text = EXAMPLE.read_text().splitlines(keepends=True)
    file.write_text("".join(endless if line.startswith("budget:") else line for line in text))
    with running(file, out) as run:
        run.until(lambda: run.steps("digits") > 10 and len(run.client.front("digits")) >= 4, "four points on the front")
        with page_server(out) as url, chromium() as (page, asked):
            page.goto(f"{url}/study?study=digits")
            drawn(page, "front")
            trial, _ = pick(page, "front", "front", 1)
            shown = words(page.locator(".st-key-panel").inner_text())
            for _, name, value in config_rows(run.client.trial("digits", trial)["config"]):
                assert shown[shown.index(name) + 1] == value, f"{name} of trial {trial}"
            picture = tmp_path / "live.png"
            page.screenshot(path=picture)
            assert run.client.show("digits")["status"] == "running", "it still ran when the page was looked at"
            assert page.locator('[data-testid="stException"]').count() == 0
        assert near(picture, theme.SELECTED) > 60, "the ring around the selected point"
        assert not asked, "the page works without a network"
        run.process.send_signal(signal.SIGINT)
        assert run.end(timeout_s=60)[0] == 130
