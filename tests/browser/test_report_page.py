"""The report in headless Chromium, at the width of a phone and of a desk, light and dark."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from toolbox.core.manifest import sealed

pytestmark = pytest.mark.browser

PHONE, DESK = (390, 844), (1280, 900)
HOSTILE = '<script>alert(1)</script>"><img src=http://127.0.0.1:9/x onerror=alert(2)>'


@pytest.fixture(scope="module")
def browser():
    """A browser that logs its console and every request."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    if os.name == "posix" and os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture
def report(cli, out):
    """A report of a mixed folder: several configurations, a failure, a hostile label."""
    toss = ("coin", "toss", "--quiet")
    folder = cli(*toss, "--sides", f"{HOSTILE},tail", "--tosses", 2000, "--repeats", 3).folder
    cli(*toss, "--tosses", 50)
    cli("coin", "train", "--quiet", "--repeats", 6)
    cli("gd", "anytime", "--preset", "smoke", "--quiet")
    manifest = json.loads((folder / "run.json").read_text())
    failed = sealed({**manifest, "status": "failed", "message": HOSTILE})
    (folder.parent / "fa11ed.failed.json").write_text(json.dumps(failed))
    return Path(cli("report").stdout.strip())


def opened(browser, path, size=DESK, scheme="light", anchor=""):
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    colours = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.resolve().as_uri() + anchor)
    return browser


def requests_of(browser):
    """The addresses that the page asked for since it was opened."""
    events = [json.loads(each["message"])["message"] for each in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events
            if event["method"] == "Network.requestWillBeSent"]  # fmt: skip


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_quiet_whole_and_fits(browser, report, size, scheme):
    page = opened(browser, report, size, scheme)
    assert page.get_log("browser") == []
    outside = [url for url in requests_of(page) if not url.startswith(("data:", report.as_uri()))]
    assert outside == []
    wide = page.execute_script("return document.documentElement.scrollWidth")
    assert wide <= size[0]
    figures = page.execute_script(
        "return [...document.querySelectorAll('.configuration:not([hidden]) .plot svg')]"
        ".map(svg => svg.getBoundingClientRect()).map(box => [box.width, box.height])"
    )
    assert figures
    assert all(width > 200 and height > 100 for width, height in figures)


def test_the_matrix_counts_what_verify_counts(browser, report, cli):
    judged = json.loads(cli("verify", "--json").stdout)
    verdicts = Counter(verdict["verdict"] for pool in judged for verdict in pool["verdicts"])
    page = opened(browser, report)
    shown = page.execute_script(
        "return [...document.querySelectorAll('[data-outcome]')].map(a => a.dataset.outcome)"
    )
    assert Counter(outcome for outcome in shown if outcome != "not run") == verdicts
    told = page.execute_script(
        "return [...document.querySelectorAll('[data-count]')]"
        ".map(b => [b.dataset.count, Number(b.textContent)])"
    )
    assert dict(told) == Counter(shown)


def test_every_link_leads_somewhere(browser, report):
    page = opened(browser, report)
    for link in page.execute_script("return [...document.links].map(a => a.getAttribute('href'))"):
        if link.startswith("#"):
            there = page.execute_script(
                "return document.getElementById(arguments[0]) !== null", link[1:]
            )
            assert there, link
        elif not link.startswith("data:"):
            at = urlparse(link)
            known = at.netloc == "arxiv.org" or (report.parent / unquote(at.path)).exists()
            assert known, link


def visible(page, anchor):
    return page.execute_script(
        "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
        "return box.height > 0 && box.top > -2 && box.top < innerHeight", anchor
    )  # fmt: skip


def test_a_click_in_the_matrix_goes_to_the_claim(browser, report):
    page = opened(browser, report, PHONE)
    page.find_element("css selector", '[data-outcome][href="#gd.anytime.C2-floor"]').click()
    assert visible(page, "gd.anytime.C2-floor")


def test_a_configuration_is_chosen_by_hand_and_by_a_link(browser, report):
    page = opened(browser, report)
    from selenium.webdriver.support.select import Select

    box = Select(page.find_element("css selector", 'select[data-of="coin.toss"]'))
    newest, older = (option.get_attribute("value") for option in box.options)
    shown = "return document.getElementById(arguments[0]).getBoundingClientRect().height > 0"
    assert page.execute_script(shown, newest)
    assert not page.execute_script(shown, older)
    box.select_by_index(1)
    assert page.execute_script(shown, older)
    assert not page.execute_script(shown, newest)
    pool = older.rpartition(".")[2]
    page = opened(browser, report, anchor=f"#coin.toss.{pool}.fair")
    assert visible(page, f"coin.toss.{pool}.fair")


def test_hostile_text_does_nothing(browser, report):
    page = opened(browser, report)
    assert page.execute_script("return document.images.length + document.scripts.length") == 1
    assert "alert(1)" in page.execute_script("return document.body.textContent")
    assert page.get_log("browser") == []


def test_without_scripts_every_configuration_is_shown(browser, report):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page = opened(browser, report)
        boxes = page.find_elements("css selector", ".configuration")
        assert len(boxes) == 4
        assert all(box.size["height"] > 100 for box in boxes)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_keyboard_and_screen_reader_find_their_way(browser, report):
    page = opened(browser, report)
    page.switch_to.active_element.send_keys("\ue004")  # Tab
    assert page.switch_to.active_element.get_attribute("href").endswith("#matrix")
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('a, button, select, [role=img], [role=region]')]"
        ".filter(e => !(e.getAttribute('aria-label') || e.textContent.trim()"
        " || (e.labels && e.labels.length)))"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert unnamed == []
    levels = page.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')].map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_it_can_be_printed(browser, report):
    page = opened(browser, report, scheme="dark")
    done = page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(done["data"]) > 20_000
