"""The report in a real browser: no script errors, nothing fetched, and it fits a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from router.lab.simulation.report import report
from tests.lab.browser import DESK, NIGHT, PHONE, browser, look
from tests.lab.simulated import outage, shown


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chrome]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report about one simulation, one that compares two, and one whose names try to be more than text."""
    folder = tmp_path_factory.mktemp("reports")
    evil = '</script><img src=x onerror="throw 1"><b>&'
    texts = {
        "one": shown(),
        "two": report(["routes.yaml", "other.yaml"], [outage(), outage()]),
        "evil": report([evil, evil], [outage(), outage()]),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize(
    ("name", "charts", "screen"),
    [("one", 6, DESK), ("one", 6, PHONE), ("one", 6, NIGHT), ("two", 7, DESK), ("two", 7, PHONE), ("evil", 7, PHONE)],
)
def test_it_is_drawn_without_errors(chromium, pages, name, charts, screen):
    """Every chart, nothing from anywhere else, and no scrolling sideways."""
    page = look(chromium, pages[name], screen)

    assert [] == page.errors
    assert charts == page.drawn == len(chromium.find_elements("css selector", ".chart .main-svg:first-child"))
    assert [] == page.fetched
    assert not page.scrolls_sideways, page


def test_dark_is_dark(chromium, pages):
    """The reader's screen decides, for the charts too."""
    colours = {}
    for screen in (DESK, NIGHT):
        look(chromium, pages["one"], screen)
        colours[screen.dark] = chromium.execute_script(
            "return [getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('.xtick text')).fill]"
        )

    assert all(light != dark for light, dark in zip(colours[False], colours[True], strict=True))


def test_names_stay_text(chromium, pages):
    """What a file's name or a deployment's says is never an element of the page."""
    look(chromium, pages["evil"], DESK)

    assert [] == chromium.find_elements("css selector", "img")
    assert "onerror" in chromium.find_element("css selector", "h1").text


@pytest.mark.parametrize("planted", ["throw new Error('planted')", "nobody.knows()", "Plotly.nothing()"])
def test_an_error_is_seen(chromium, tmp_path, planted):
    """A report whose script fails fails this test's page: the check above has looked."""
    page = tmp_path / "broken.html"
    page.write_text(shown().replace('"use strict";', f'"use strict"; {planted};', 1), encoding="utf-8")

    assert look(chromium, page, DESK).errors


def test_something_fetched_is_refused(chromium, tmp_path):
    """The policy of the page lets nothing in from outside, and the browser says so."""
    page = tmp_path / "curious.html"
    page.write_text(shown().replace("</body>", '<img src="https://example.com/x.png"></body>'), encoding="utf-8")

    assert any("Content Security Policy" in error for error in look(chromium, page, DESK).errors)
