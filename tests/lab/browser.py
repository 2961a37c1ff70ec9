"""A real browser for the report: Chromium, driven by selenium, without a network.

`python -m tests.lab.browser FILE.png` makes the picture of the documents.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60.0  # seconds that a page may take, on a machine that does other things too
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere
)


class Screen(NamedTuple):
    """What somebody looks at: pixels, whether it is a phone, and whether he likes it dark."""

    width: int
    height: int
    phone: bool = False
    dark: bool = False


DESK, PHONE, NIGHT = Screen(1280, 900), Screen(360, 740, phone=True), Screen(1280, 900, dark=True)


class Page(NamedTuple):
    """What came of opening a page."""

    errors: list[str]
    drawn: int
    fetched: list[str]
    inner: int
    content: int

    @property
    def scrolls_sideways(self) -> bool:
        return self.content > self.inner


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium with a new profile; skips the test where there is none, but not under CI."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        message = (
            "chromium and chromedriver are not here: run scripts/browser, or apt-get install chromium chromium-driver"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        made = webdriver.Chrome(options=options, service=Service(driver))
        try:
            made.set_page_load_timeout(PATIENCE)
            yield made
        finally:
            made.quit()


def look(at: webdriver.Chrome, path: Path, screen: Screen) -> Page:
    """Open *path* as it is seen on *screen*, and wait until its script has drawn or failed."""
    _set(at, screen)
    at.get(path.as_uri())
    errors: list[str] = []

    def done(_: Any) -> bool:
        errors.extend(one["message"] for one in at.get_log("browser") if one["level"] == "SEVERE")
        return bool(errors) or at.execute_script("return document.documentElement.dataset.drawn !== undefined")

    WebDriverWait(at, PATIENCE).until(done)
    # Two frames later the charts have their size, and whatever throws in them has thrown.
    at.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    errors.extend(one["message"] for one in at.get_log("browser") if one["level"] == "SEVERE")
    drawn, fetched, inner, content = at.execute_script(
        "const root = document.documentElement;"
        "return [Number(root.dataset.drawn || 0),"
        " performance.getEntriesByType('resource').map((one) => one.name), window.innerWidth, root.scrollWidth]"
    )
    return Page(errors, drawn, fetched, inner, content)


def _set(at: webdriver.Chrome, screen: Screen) -> None:
    size = {"width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": screen.phone}
    at.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"name": "prefers-color-scheme", "value": "dark" if screen.dark else "light"}
    at.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wanted]})


def picture(at: webdriver.Chrome, height: int) -> bytes:
    """The page that is open, from its top, as PNG."""
    width = at.execute_script("return window.innerWidth")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    shot = at.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return base64.b64decode(shot["data"])


def main(target: Path) -> None:
    """Write the picture of docs/simulation.md to *target*."""
    from tests.lab.simulated import shown

    with tempfile.TemporaryDirectory() as folder, browser() as at:
        page = Path(folder) / "report.html"
        page.write_text(shown(), encoding="utf-8")
        look(at, page, Screen(900, 900))
        target.write_bytes(picture(at, 1230))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
