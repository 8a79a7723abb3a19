"""The page and the report in a real Chromium, over real databases; nothing is mocked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from searchd.client import Client
from tests.support.browser import CHROMIUM, WAIT_MS, chromium, click_mark, drawn, near, page_server, pick, words
from tests.support.study_db import write_study
from ui import report, theme
from ui.wording import config_rows

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"),
]

@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one study that ended."""
    folder = tmp_path_factory.mktemp("page") / "out"
    write_study(folder / "digits").close()
    return folder


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with page_server(root) as address:
        yield address


def test_a_click_on_a_front_point_shows_its_config(url: str, root: Path, tmp_path: Path) -> None:
    """From the list to a study to a click on a front point: the panel shows that trial's config, metrics and files."""
    with chromium() as (page, asked):
        page.goto(url)
        page.get_by_role("link", name="digits").click(timeout=WAIT_MS)
        drawn(page, "front")
        trial, _ = pick(page, "front", "front", 2)
        shown = words(page.locator(".st-key-panel").inner_text())
        told = Client(root=root).trial("digits", trial)
        for _, name, value in config_rows(told["config"]):
            assert shown[shown.index(name) + 1] == value, f"{name} of trial {trial}"
        assert "model.onnx" in shown
        assert f"trial={trial}" in page.url
        drawn(page, "spark")
        picture = tmp_path / "front.png"
        page.screenshot(path=picture)
        assert page.locator('[data-testid="stException"]').count() == 0
    assert near(picture, theme.SELECTED) > 60, "the ring around the selected point"
    assert near(picture, theme.SCALE[-1][1]) > 60, "the largest points of the front"
    assert near(picture, theme.INK) > 500, "text"
    assert near(picture, "#ffffff") > 500_000, "dark on light"
    assert not asked, "the page works without a network"


def test_every_view_of_a_study_draws(url: str) -> None:
    """Each tab shows its chart or table, opened straight from an address, and none shows an error."""
    with chromium() as (page, asked):
        page.goto(f"{url}/study?study=digits&trial=4")
        drawn(page, "front")
        assert "Trial 4" in page.locator(".st-key-panel").inner_text()
        for tab, sign in (
            ("Learning curves", ".st-key-curves path.point"), ("Rungs", ".st-key-ladder0 path.point"),
            ("Parameters", ".st-key-parallel .axis-title"), ("Trials", ".st-key-trials canvas"),
            ("Decision log", ".st-key-log canvas"),
        ):  # fmt: skip
            page.get_by_role("tab", name=tab).click()
            page.wait_for_selector(sign, timeout=WAIT_MS, state="attached")
        page.get_by_role("tab", name="Rungs").click()
        drawn(page, "ladder0")
        assert pick(page, "ladder0", "paused")[1] == -1
        assert page.locator('[data-testid="stException"]').count() == 0
    assert not asked


def test_chosen_axes_outlive_another_tab(url: str) -> None:
    """An axis that was chosen is still chosen after a look at another tab, and a click still tells the point."""
    with chromium() as (page, _):
        page.goto(f"{url}/study?study=digits")
        drawn(page, "front")
        page.get_by_label("Across").click()
        page.get_by_role("option", name="bytes", exact=True).click()
        title = ".st-key-front .xtitle"
        page.wait_for_function("s => document.querySelector(s)?.textContent.startsWith('bytes')", arg=title)
        page.get_by_role("tab", name="Rungs").click()
        drawn(page, "ladder0")
        page.get_by_role("tab", name="Front").click()
        drawn(page, "front")
        assert page.locator(title).text_content().startswith("bytes")
        assert pick(page, "front", "front")[1] >= 0


def test_a_running_study_moves_without_a_reload(tmp_path: Path) -> None:
    """New trials appear by themselves, what is selected stays so, and the end of the study is seen."""
    folder = tmp_path / "out"
    study = write_study(folder / "live", name="live", seed=5, upto=2, start=time.time() - 60)
    with page_server(folder) as url, chromium() as (page, _):
        page.goto(f"{url}/study?study=live")
        page.get_by_text("No trial yet").wait_for(timeout=WAIT_MS)
        page.evaluate("window.sameDocument = true")
        study.play(90)
        drawn(page, "front")
        trial, point = pick(page, "front", "front")
        before = page.locator(".sd-kpi").first.inner_text()
        study.play(20)
        page.wait_for_function(
            "before => document.querySelector('.sd-kpi').innerText !== before", arg=before, timeout=WAIT_MS
        )
        assert f"Trial {trial} · point {point}" in page.locator(".st-key-panel").inner_text()
        study.play()
        page.get_by_text("ended", exact=True).wait_for(timeout=WAIT_MS)
        assert page.evaluate("window.sameDocument") is True
        assert page.locator('[data-testid="stException"]').count() == 0
    study.close()


def test_the_report_works_offline(root: Path, tmp_path: Path) -> None:
    """report.html asks for nothing, lets one choose axes, and shows the config of a clicked point and row."""
    client = Client(root=root)
    path = report.write(client, "digits", tmp_path)[0]
    front = client.front("digits")
    with chromium(offline=True) as (page, asked):
        errors: list[str] = []
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(path.as_uri())
        page.wait_for_selector("#front path.point")
        trial, point = click_mark(page, "#front", "front", 3)
        page.get_by_role("heading", name=f"Trial {trial} · point {point}").wait_for()
        shown = words(page.locator("#detail").inner_text())
        for _, name, value in config_rows(client.trial("digits", trial)["config"]):
            assert shown[shown.index(name) + 1] == value
        page.select_option("#axis-x", "bytes")
        assert page.locator("#front .xtitle").text_content().startswith("bytes")
        page.locator("#front-table tbody tr").nth(len(front) - 1).click()
        last = front[-1]
        page.get_by_role("heading", name=f"Trial {last['trial']} · point {last['point']}").wait_for()
        for element in ("parallel", "curves", "ladder0"):
            assert page.locator(f"#{element} svg").count() > 0
        page.evaluate("window.scrollTo(0, 0)")
        picture = tmp_path / "report.png"
        page.screenshot(path=picture)
    assert not errors
    assert not asked
    assert near(picture, theme.SELECTED) > 60
    assert near(picture, theme.SCALE[-1][1]) > 60
