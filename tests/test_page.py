"""The page in a real browser: charts are drawn and answer the reader, nothing is fetched, no text of the data acts."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loralab import api
from loralab.comparison import compare
from loralab.disagreement import disputed
from loralab.errors import UserError
from loralab.report import write_report
from loralab.report.pdf import write_pdf
from loralab.results import Failure, Measurement

needs_a_browser = pytest.mark.skipif(
    shutil.which("chromedriver") is None or shutil.which("chromium") is None,
    reason="needs chromium and its driver: on Debian, apt-get install chromium chromium-driver",
)

SCRIPT = "<script>document.title = 'broken'</script><img src=x onerror=\"document.title = 'broken'\">"
PHONE, DESK = (390, 844), (1200, 900)


LONG = "lora_of_rank_4_and_alpha_8_on_attention_and_feed_forward"  # which no line of a phone can hold


def named(result: Measurement | Failure) -> Measurement | Failure:
    """The result with a script and control characters for the names of its first labels, and a long name for LoRA."""
    assert isinstance(result, Measurement)
    data = result.data.model_copy(update={"label_names": (SCRIPT, "bell\x07 \x1b[31m", *result.data.label_names[2:])})
    trial = result.trial.model_copy(update={"arm": LONG}) if result.trial.arm == "lora" else result.trial
    return result.model_copy(update={"data": data, "trial": trial})


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose labels and texts hold scripts, and whose names are long."""
    comparison = api.load(finished)
    arms = {LONG if name == "lora" else name: arm for name, arm in comparison.experiment.arms.items()}
    results = [named(one) for one in comparison.results.values()]
    changed = compare(comparison.experiment.model_copy(update={"arms": arms}), {one.trial.id: one for one in results})
    texts = {one.id: SCRIPT for one in disputed(changed)}
    return write_report(changed, tmp_path_factory.mktemp("page"), texts)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(30)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path, request: pytest.FixtureRequest) -> Any:
    """The browser with the page, every chart drawn."""
    from selenium.webdriver.support.ui import WebDriverWait

    width, height = getattr(request, "param", DESK)
    # A window of the platform may not be as narrow as a phone; the page's own viewport can be.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(_is_drawn)
    return browser


def _is_drawn(browser: Any) -> bool:
    """Tell whether every figure has its chart; of a page that is still loading, not even all figures may be there."""
    figures = browser.find_elements("css selector", "figure[data-figure]")
    return 0 < len(figures) == len(browser.find_elements("css selector", "figure:has(.chart svg)"))


@needs_a_browser
def test_every_figure_is_drawn_without_an_error_or_a_request(opened: Any, page: Path) -> None:
    import json

    figures = [one.get_attribute("data-figure") for one in opened.find_elements("css selector", "figure[data-figure]")]
    assert figures == ["differences", "tradeoff", "quality", "memory", "time", "curves", "learning-rates", "confusion"]
    assert "Not drawn" not in opened.find_element("tag name", "body").text
    assert [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"] == []
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith(("data:", page.as_uri()))} == set()


@needs_a_browser
def test_text_of_the_data_is_shown_and_does_nothing(opened: Any) -> None:
    assert opened.title.endswith(": loralab")
    shown = opened.find_elements("css selector", ".disputed p")
    assert shown
    assert all(one.text == SCRIPT for one in shown)


@needs_a_browser
@pytest.mark.parametrize("opened", [PHONE, DESK], indirect=True, ids=["phone", "desk"])
def test_the_page_never_scrolls_sideways(opened: Any) -> None:
    width, room = opened.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= room


def keys_cut_off(browser: Any) -> int:
    """How many charts have a key that reaches beyond them."""
    found: int = browser.execute_script("""
        return [...document.querySelectorAll('figure .chart svg')].filter((drawn) => {
            const room = drawn.getBoundingClientRect();
            return [...drawn.querySelectorAll('.role-legend-entry text')].some((text) => {
                const taken = text.getBoundingClientRect();
                return taken.bottom > room.bottom + 1 || taken.right > room.right + 1;
            });
        }).length
    """)
    return found


@needs_a_browser
@pytest.mark.parametrize("opened", [PHONE, (360, 800)], indirect=True, ids=["phone", "small phone"])
def test_no_key_to_a_chart_is_cut_off(opened: Any) -> None:
    assert keys_cut_off(opened) == 0
    assert opened.find_elements("css selector", "figure .chart svg .role-legend-entry text")


@needs_a_browser
def test_keys_are_whole_in_a_window_that_became_narrow(opened: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    narrow = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    fits = "return [...document.querySelectorAll('.chart svg')].every(one => one.clientWidth <= innerWidth)"
    WebDriverWait(opened, 10).until(lambda driver: driver.execute_script(fits))
    WebDriverWait(opened, 10).until(lambda driver: keys_cut_off(driver) == 0)


@needs_a_browser
def test_hovering_over_a_point_tells_its_figures(opened: Any) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    point = opened.find_element("css selector", "figure[data-figure=tradeoff] .chart .mark-symbol.layer_1_marks path")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(opened).move_to_element(point).perform()
    WebDriverWait(opened, 10).until(
        lambda driver: "Training time" in driver.find_element("id", "vg-tooltip-element").text
    )
    assert "Arm" in opened.find_element("id", "vg-tooltip-element").text


@needs_a_browser
def test_the_reader_chooses_the_axes(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select, WebDriverWait

    figure = opened.find_element("css selector", "figure[data-figure=tradeoff]")
    quality, cost = (Select(one) for one in figure.find_elements("tag name", "select"))
    cost.select_by_visible_text("Size on disk")
    quality.select_by_visible_text("F1, macro")
    WebDriverWait(opened, 10).until(lambda _: "Size on disk" in figure.find_element("css selector", ".chart").text)
    assert "F1, macro" in figure.find_element("css selector", ".chart").text


@needs_a_browser
def test_on_paper_pictures_stand_still_and_nothing_is_cut_off(opened: Any) -> None:
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert all(one.is_displayed() for one in opened.find_elements("css selector", ".still"))
        assert not any(one.is_displayed() for one in opened.find_elements("css selector", ".chart, select"))
        cut = "return [...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth).length"
        assert opened.execute_script(cut) == 0
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@needs_a_browser
def test_in_the_dark_the_page_is_dark(opened: Any) -> None:
    background = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    light = opened.execute_script(background)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    try:
        assert max(opened.execute_script(background)) < 60 < min(light)
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@needs_a_browser
def test_a_language_models_page_is_drawn_and_fits_a_phone(finished_language: Path, browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    phone = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.get((finished_language / "report.html").as_uri())
    WebDriverWait(browser, 30).until(_is_drawn)
    figures = [one.get_attribute("data-figure") for one in browser.find_elements("css selector", "figure[data-figure]")]
    assert "forgetting" in figures
    assert "confusion" not in figures
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]


@needs_a_browser
def test_the_page_is_printed_to_a_file(page: Path) -> None:
    printed = write_pdf(page)
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 50_000  # with its charts


def test_without_a_browser_the_way_out_is_told(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="no browser was found; install Chromium, Chrome or Edge"):
        write_pdf(page)


def test_a_browser_that_prints_nothing_is_told_of_with_its_words(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display >&2\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(broken))
    with pytest.raises(UserError, match="printed nothing: no display"):
        write_pdf(page)
    assert not list(page.parent.glob(".report.pdf*"))
