"""The report's page in a headless Chromium: complete, quiet, and moved by its time slider."""

import json
import re
import shutil

import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with: "
                                "apt-get install chromium")
DESKTOP = pytest.param(({"width": 1280, "height": 900}, "light"), id="desktop")
PHONE = pytest.param(({"width": 390, "height": 844}, "dark"), id="phone")
everywhere = pytest.mark.parametrize("page", [DESKTOP, PHONE], indirect=True, scope="module")
desktop = pytest.mark.parametrize("page", [DESKTOP], indirect=True, scope="module")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # Root needs --no-sandbox; the 3-D view is rendered in software.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(request, browser, coarse_run):
    """The page, scrolled through once, with all that it complained about or asked for."""
    size, scheme = request.param
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.complaints, page.requests = [], []
    page.on("console", lambda message: message.type == "error"
            and page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.set_default_timeout(120_000)
    page.goto((coarse_run / "report" / "index.html").as_uri())
    for place in page.query_selector_all("[data-figure]"):
        place.scroll_into_view_if_needed()
        page.wait_for_function("place => place.parentElement.classList.contains('drawn')",
                               arg=place)
    yield page
    context.close()


@everywhere
def test_every_figure_is_drawn_without_complaint_or_network(page):
    names = page.eval_on_selector_all("[data-figure]", "all => all.map(one => one.dataset.figure)")
    assert {"scene", "slice0", "slice1", "slice2", "course_paper", "course_mintime",
            "controllers", "dose", "reduction"} <= set(names)
    for name in names:
        assert page.query_selector(f"[data-figure={name}] .main-svg, [data-figure={name}] canvas")
    assert page.complaints == []
    asked = [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))]
    assert asked == []


@everywhere
def test_nothing_is_wider_than_the_window(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def picture(page, name):
    page.wait_for_timeout(300)
    return page.query_selector(f"[data-figure={name}]").screenshot()


@desktop
def test_slider_moves_text_and_pictures_by_keyboard(page):
    slider = page.query_selector("#time")
    names = ("scene", "slice0", "slice2", "course_paper")
    slider.focus()
    page.keyboard.press("End")
    last = {name: picture(page, name) for name in names}
    said = page.inner_text("#moment")
    slider.focus()
    page.keyboard.press("Home")
    assert page.inner_text("#moment").startswith("0 s · 0.0 % treated")
    assert page.inner_text("#moment") != said
    for name in names:
        assert picture(page, name) != last[name]
    assert page.evaluate("document.querySelector('[data-figure=scene]')"
                         ".data.find(t => t.name === 'lesion').x.length") == 0


@desktop
def test_controller_and_quantity_can_be_chosen(page):
    page.query_selector("#time").focus()
    page.keyboard.press("End")
    before = picture(page, "slice0")
    said = page.inner_text("#moment")
    page.check("input[name=controller][value=mintime]")
    assert page.inner_text("#moment") != said
    other = picture(page, "slice0")
    assert other != before
    page.check("input[name=shown][value=dose]")
    assert page.inner_text("#scale-low") == "1 CEM43"
    assert picture(page, "slice0") != other


@desktop
def test_hover_over_dose_says_the_dose_and_not_its_logarithm(page):
    page.query_selector("#time").focus()
    page.keyboard.press("End")
    page.check("input[name=shown][value=dose]")
    place = page.query_selector("[data-figure=slice0]")
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    box = place.query_selector(".nsewdrag").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_timeout(1000)
    said = page.eval_on_selector("[data-figure=slice0] .hovertext", "one => one.textContent")
    assert re.fullmatch(r"[-\d.]+, [-\d.]+ mm: (no dose|[\d,.]+ CEM43)", said), said
    words, logarithms = (place.evaluate(f"place => place.data[1].{key}.map(row => Array.from(row))"
                                        ".flat()") for key in ("text", "z"))
    doses = [(float(text.split()[0].replace(",", "")), 10**power)
             for text, power in zip(words, logarithms, strict=True) if text != "no dose"]
    assert len(doses) > 20 and max(dose for dose, _ in doses) > 240
    for shown, dose in doses:
        assert shown == pytest.approx(dose, rel=0.006)


@desktop
def test_the_page_opens_at_the_end_of_the_treatment(page, coarse_run):
    """The slider's time is the table's, for each controller."""
    page.reload()
    page.wait_for_function("document.getElementById('moment').textContent")
    for name in ("paper", "mintime"):
        page.check(f"input[name=controller][value={name}]")
        metrics = json.loads((coarse_run / "control" / name / "metrics.json").read_text())
        end = f"{metrics['treatment_time_s']:,.10g} s · end of the treatment"
        assert page.inner_text("#moment").startswith(end)


@desktop
def test_print_shows_the_still_figures(page):
    page.emulate_media(media="print")
    still = page.query_selector_all("figure .picture img")
    assert len(still) > 8 and all(image.is_visible() for image in still)
    assert not page.query_selector("#time").is_visible()
    page.emulate_media(media="screen")
