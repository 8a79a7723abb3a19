"""A real Chromium and the real page: `page_server(root)` runs Streamlit, `chromium()` a browser that keeps account."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
WAIT_MS = 30_000
"""A look takes two seconds; a laden machine may take many more."""


@contextmanager
def page_server(root: Path) -> Iterator[str]:
    """The page over a folder of studies, on a free port of this machine; gives its URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SEARCHD_")}
    environment["PYTHONPATH"] = str(ROOT)
    log = root.parent / "page.log"
    argv = [sys.executable, "-P", "-m", "streamlit", "run", str(ROOT / "ui" / "app.py"), "--server.headless", "true",
            "--server.port", str(port), "--server.address", "127.0.0.1", "--", "--root", str(root)]  # fmt: skip
    with log.open("wb") as out:
        server = subprocess.Popen(argv, cwd=root.parent, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/_stcore/health", server, log)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the page did not come up:\n{log.read_text()[-3000:]}")


@contextmanager
def chromium(*, offline: bool = False, width: int = 1500, height: int = 1000) -> Iterator[tuple[Any, list[str]]]:
    """A browser's page, and the addresses of other machines that it asked for (should stay empty)."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    own = ("http://127.0.0.1", "ws://127.0.0.1", "file:", "data:", "blob:")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            context = browser.new_context(viewport={"width": width, "height": height}, offline=offline)
            page = context.new_page()
            page.on("request", lambda r: None if r.url.startswith(own) else asked.append(r.url))
            yield page, asked
        finally:
            browser.close()


def click_mark(page: Any, chart: str, trace: str, index: int = 0) -> list[int]:
    """Click a mark of the trace of that name in a chart: the `index`-th of those that stand alone; its customdata."""
    found = page.evaluate(
        """([chart, trace, index]) => {
            const root = document.querySelector(chart);
            const plot = root.classList.contains('js-plotly-plot') ? root : root.querySelector('.js-plotly-plot');
            const axes = plot._fullLayout, box = plot.getBoundingClientRect();
            const marks = plot.calcdata.map((c) => c[0].trace).filter((t) => t.customdata).flatMap((t) =>
                Array.from(t.x).map((x, i) => ({
                    name: t.name, told: Array.from(t.customdata[i]),
                    x: axes.xaxis.d2p(x) + axes.xaxis._offset + box.left,
                    y: axes.yaxis.d2p(t.y[i]) + axes.yaxis._offset + box.top,
                })));
            const alone = marks.filter((m) => m.name === trace && marks.every((n) =>
                n === m || Math.hypot(n.x - m.x, n.y - m.y) > 16));
            return alone[Math.min(index, alone.length - 1)];
        }""",
        [chart, trace, index],
    )
    page.mouse.move(found["x"] - 3, found["y"] - 3)
    page.mouse.move(found["x"], found["y"])
    page.mouse.click(found["x"], found["y"])
    return [int(v) for v in found["told"]]


def pick(page: Any, key: str, trace: str, index: int = 0) -> tuple[int, int]:
    """Click a mark until the panel shows it: a chart may be drawn anew just under the pointer. Its trial and point."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    for attempt in range(4):
        trial, point = click_mark(page, f".st-key-{key}", trace, index)
        title = f"Trial {trial}" + (f" · point {point}" if point >= 0 else "")
        try:
            page.wait_for_function(
                "title => { const t = document.querySelector('.st-key-panel')?.innerText ?? '';"
                " return t.startsWith(title + '\\n') && t.includes('JOBS'); }",
                arg=title,
                timeout=WAIT_MS / 3,
            )
        except PlaywrightTimeout:
            if attempt == 3:
                raise
            continue
        return trial, point
    raise AssertionError("unreachable")


def drawn(page: Any, key: str) -> None:
    """Wait until the chart of that key shows its points."""
    page.wait_for_selector(f".st-key-{key} .js-plotly-plot path.point", timeout=WAIT_MS)
    page.wait_for_timeout(300)


def words(text: str) -> list[str]:
    """The lines and cells of a text, without the empty ones."""
    return [line.strip() for part in text.split("\n") for line in part.split("\t") if line.strip()]


def near(picture: Path, colour: str, within: int = 24) -> int:
    """How many pixels of a picture are within `within` of `#rrggbb` in each channel."""
    import numpy as np
    from PIL import Image

    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((abs(pixels - wanted).max(axis=2) <= within).sum())
