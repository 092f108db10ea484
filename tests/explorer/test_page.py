"""The page in a real browser: Debian's Chromium, headless, driven by Playwright, without any network."""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

from radiossl.ratings.records import read_ratings
from tests.explorer.running import free_port, running

from .conftest import COUNT, HOSTILE_ID

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytest.importorskip("tornado", reason="the explorer needs pip install 'radiossl[explore]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine (apt-get install chromium): no browser tests", allow_module_level=True)

#: Milliseconds to wait for the page; machines that test are busy.
PATIENCE = int(os.environ.get("RADIOSSL_TEST_PATIENCE_MS", 60_000))


def explorer(survey, folder, *options, port=None):
    """`radiossl explore` of the survey; see `running`."""
    arguments = [str(survey.features), "--store", str(survey.store.paths[0]), "--weights", str(survey.weights)]
    return running([*arguments, *options], folder, port)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        # A container's root may not use Chromium's sandbox.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def served(survey, tmp_path_factory):
    """A running explorer; yields (address, its working folder)."""
    folder = tmp_path_factory.mktemp("served")
    with explorer(survey, folder) as (address, _):
        yield address, folder


@pytest.fixture
def page(browser, served):
    opened = open_page(browser, served[0])
    yield opened
    assert opened.evaluate("window.hacked") is None
    opened.context.close()


def open_page(browser, address, width=1440, height=900, scheme="dark"):
    """Open a page, wait for its map, and see to it that it fetches nothing from elsewhere."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, accept_downloads=True, color_scheme=scheme
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.elsewhere = []
    host = address.split("/")[2]
    page.on("request", lambda request: page.elsewhere.append(request.url) if not ours(request.url, host) else None)
    page.goto(address)
    ready(page)
    assert page.elsewhere == []
    return page


def ready(page):
    """Wait until the map and the open list are there."""
    page.wait_for_selector(".panel:not([hidden]) > *")


def ours(url, host):
    return url.startswith(("data:", "blob:")) or url.split("/")[2] == host


def go_to(page, cutout_id):
    field = page.get_by_placeholder("id, or position")
    field.fill(cutout_id)
    field.press("Enter")
    page.wait_for_url(lambda url: url.endswith(f"#source-{cutout_id}"))
    page.get_by_role("heading", name=cutout_id).wait_for()


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    page.locator(f"#panel-{name} > *").first.wait_for()


def map_box(page):
    return page.locator(".map canvas").first.bounding_box()


def map_box_centre(page):
    box = map_box(page)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def hover_over_a_source(page):
    """Move over the map until a card with a cutout shows up and stays; return where."""
    box = map_box(page)
    for x in np.linspace(0.1, 0.9, 33):
        for y in np.linspace(0.1, 0.9, 33):
            place = box["x"] + x * box["width"], box["y"] + y * box["height"]
            page.mouse.move(*place)
            page.wait_for_timeout(40)
            if page.evaluate("maps[0].hovered") >= 0:
                page.locator(".rs-card img").wait_for()
                return place
    raise AssertionError("no card showed up over the map")


def test_a_hover_shows_the_cutout_and_a_click_goes_there(page):
    place = hover_over_a_source(page)
    name = page.locator(".rs-card .rs-named").inner_text().split("\n")[0].split(" · ")[0]
    page.mouse.click(*place)
    page.get_by_role("heading", name=name, exact=True).wait_for()
    assert page.locator("img[alt='cutout of " + name.replace("'", "") + "']").first.is_visible()


def test_nothing_that_is_typed_or_clicked_while_the_page_loads_is_lost(browser, served):
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page, held, errors = context.new_page(), [], []
    page.on("pageerror", lambda error: errors.append(error))
    page.route("**/api/start?*", lambda route: held.append(route))
    with page.expect_request("**/api/start?*"):
        page.goto(served[0])
    controls = page.locator("button, select, header input")
    assert controls.count() > 10
    assert [control.is_enabled() for control in controls.all()] == [False] * controls.count()
    page.mouse.click(*map_box_centre(page))
    page.keyboard.press("+")
    page.wait_for_timeout(100)  # the route is handled between the calls
    assert page.locator("#said").inner_text() == ""
    held[0].continue_()
    go_to(page, "s05")  # waits for the field
    assert errors == []
    context.close()


def test_neighbours_lead_on_and_the_address_remembers(page, served, survey, browser):
    go_to(page, "s03")
    seen = ["s03"]
    for _ in range(3):
        page.get_by_text(f"most like {seen[-1]},").wait_for()
        link = page.locator(".rs-sheet .rs-thumb").nth(1)
        name = link.get_attribute("title")
        link.click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
        seen.append(name)
    page.go_back()
    page.get_by_role("heading", name=seen[-2], exact=True).wait_for()
    other = open_page(browser, f"{served[0]}#source-{seen[1]}")
    other.get_by_role("heading", name=seen[1], exact=True).wait_for()
    other.context.close()


def test_a_position_finds_its_source_and_nonsense_is_told(page):
    field = page.get_by_placeholder("id, or position")
    field.fill("10.7 -5.0")
    field.press("Enter")
    page.get_by_role("heading", name="s07", exact=True).wait_for()
    field.fill("<img src=x onerror=window.hacked=1>")
    field.press("Enter")
    page.get_by_text("is neither an id of a source").wait_for()


def test_what_a_catalogue_holds_is_text_and_nothing_else(page):
    field = page.get_by_placeholder("id, or position")
    field.fill(HOSTILE_ID)
    field.press("Enter")
    page.get_by_role("heading", name=HOSTILE_ID, exact=True).wait_for()
    page.get_by_text("onerror=").first.wait_for()
    page.reload()  # the address names it
    page.get_by_role("heading", name=HOSTILE_ID, exact=True).wait_for()
    page.goto(page.url.split("#")[0] + "#source-%3Cimg%20src%3Dx%20onerror%3Dwindow.hacked%3D1%3E")
    page.get_by_text("no source has the id").wait_for()


def test_an_uploaded_cutout_finds_itself(page, survey, tmp_path):
    row = 17
    fits.writeto(tmp_path / "query.fits", survey.store.pixels(row))
    tab(page, "Search")
    page.locator("input[type=file]").set_input_files(tmp_path / "query.fits")
    page.locator(".rs-query img").wait_for()
    first = page.locator(".rs-sheet .rs-thumb").first
    assert first.get_attribute("title") == f"s{row}"
    assert first.inner_text() == "1.000 · triple"  # similarity and class
    first.click()
    page.get_by_role("heading", name=f"s{row}", exact=True).wait_for()


def test_the_crop_of_an_upload_is_shown_and_moves(page, survey, tmp_path):
    large = np.random.default_rng(5).normal(0, 1e-4, (160, 160)).astype(np.float32)
    large[60:100, 60:100] += survey.store.pixels(4)
    fits.writeto(tmp_path / "large.fits", large)
    tab(page, "Search")
    page.locator("input[type=file]").set_input_files(tmp_path / "large.fits")
    frame = page.locator(".rs-frame i")
    frame.wait_for()
    before, whole = frame.bounding_box(), page.locator(".rs-frame img").bounding_box()
    assert 0.2 < before["width"] / whole["width"] < 0.3
    page.get_by_role("button", name="→").click()
    page.wait_for_function(
        "x => document.querySelector('.rs-frame i')?.getBoundingClientRect().x > x + 5", arg=before["x"]
    )
    page.locator(".rs-frame img").click(position={"x": 40, "y": 40})
    page.get_by_text("around its centre that was chosen").first.wait_for()
    page.get_by_role("button", name="whole image").click()
    page.get_by_text("searched as it is").wait_for()
    frame.wait_for(state="detached")


def test_a_catalogue_that_is_dropped_chooses_its_sources(page, tmp_path):
    (tmp_path / "some.csv").write_text("name,ra,dec\na,10.3,-5.0\nb,10.7,-5.0\n")
    tab(page, "Search")
    page.locator("input[type=file]").set_input_files(tmp_path / "some.csv")
    page.get_by_text("2 sources of the catalogue are chosen").wait_for()
    page.get_by_text("2 sources chosen").first.wait_for()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("garbage.fits", b"not a FITS file at all" * 100, "not an image"),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + bytes(40), "not a readable image"),
        ("..%2f..%2fetc%2fpasswd.png", b"root:x:0:0", "not an image"),
    ],
)
def test_what_is_no_image_is_refused(page, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    tab(page, "Search")
    page.locator("input[type=file]").set_input_files(tmp_path / name)
    page.locator(".rs-notice.bad", has_text=said).wait_for()


def test_a_file_that_is_too_large_is_refused_and_the_page_lives_on(page, tmp_path):
    (tmp_path / "large.fits").write_bytes(b"SIMPLE  =" + bytes(33 * 2**20))
    tab(page, "Search")
    page.locator("input[type=file]").set_input_files(tmp_path / "large.fits")
    page.get_by_text("File is too large").first.wait_for()
    go_to(page, "s01")


def test_ten_ratings_by_keys_survive_a_kill_and_rank_the_list(browser, survey, tmp_path):
    with explorer(survey, tmp_path, "--who", "me") as (address, process):
        page = open_page(browser, address)
        tab(page, "Anomalies")
        page.locator(".rs-sheet .rs-thumb").first.click()
        names = []
        for number in range(10):
            names.append(page.locator(".rs-thumb.rs-here").get_attribute("title"))
            page.get_by_role("heading", name=names[-1], exact=True).wait_for()
            page.keyboard.press(str(1 + number % 5))
            page.get_by_text(f"{number + 1} of {COUNT} rated").wait_for()
            page.locator(f".rs-thumb.rs-here:not([title={names[-1]!r}])").wait_for()
        assert len(set(names)) == 10
        process.kill()
        page.context.close()
    kept = read_ratings(tmp_path / "ratings.csv")
    assert kept["cutout_id"].tolist() == names
    assert kept["rating"].tolist() == [1, 2, 3, 4, 5] * 2
    assert set(kept["who"]) == {"me"}

    with explorer(survey, tmp_path) as (address, _):
        page = open_page(browser, address)
        tab(page, "Anomalies")
        page.get_by_text(f"10 of {COUNT} rated").wait_for()
        page.locator(".rs-thumb b").nth(9).wait_for()
        badges = page.locator(".rs-thumb b").all_inner_texts()
        assert sorted(badges) == sorted("12345" * 2)
        page.get_by_role("button", name="rank by ratings").click()
        page.get_by_text("ranked by 10 ratings ·").wait_for()
        page.get_by_text("ranked by 10 ratings (linear)").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="ranked.csv").click()
        ranked = pd.read_csv(download.value.path())
        page.context.close()
    assert len(ranked) == COUNT
    assert ranked.set_index("cutout_id")["rating"].dropna().to_dict() == dict(
        zip(names, [1, 2, 3, 4, 5] * 2, strict=True)
    )
    expected = ranked["expected_rating"].to_numpy()
    assert (np.diff(expected) <= 0).all()


def test_keys_pressed_faster_than_the_page_follows_rate_what_is_seen(browser, survey, tmp_path):
    with explorer(survey, tmp_path) as (address, _):
        page = open_page(browser, address)
        tab(page, "Anomalies")
        page.locator(".rs-sheet .rs-thumb").first.click()
        page.locator(".rs-rating").wait_for()
        # What a person sees at the moment of each key; written down before the page's own script hears of the key.
        page.evaluate(
            """() => {
                window.seen = [];
                window.addEventListener("keydown", (event) => {
                    const seen = document.querySelector("h2").textContent;
                    if (/^[1-5]$/.test(event.key)) window.seen.push([seen, Number(event.key)]);
                }, { capture: true });
            }"""
        )
        for key in [*"3", "ArrowRight", *"1", "ArrowRight", *"254", *"5", "ArrowLeft", *"4321"]:
            page.keyboard.press(key)
        seen = page.evaluate("window.seen")
        assert len(seen) == 10
        deadline = time.monotonic() + PATIENCE / 1000
        while len(kept := ratings_in(tmp_path)) < len(seen):
            assert time.monotonic() < deadline, kept
            page.wait_for_timeout(100)
        assert kept == seen
        page.context.close()


def ratings_in(folder):
    """Ids and ratings of the file, in the order in which they were given."""
    if not (folder / "ratings.csv").exists():
        return []
    return read_ratings(folder / "ratings.csv")[["cutout_id", "rating"]].to_numpy().tolist()


def test_a_lasso_chooses_and_the_choice_becomes_files_and_labels(page, served):
    box = map_box(page)
    page.locator("[title^='Lasso']").click()
    corners = [(0.002, 0.002), (0.998, 0.002), (0.998, 0.998), (0.002, 0.998), (0.002, 0.002)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.get_by_text(f"{COUNT} sources chosen").first.wait_for()
    tab(page, "Selection")
    page.locator(".rs-sheet .rs-thumb").first.wait_for()
    found = {}
    for name in ("selection.csv", "selection.fits", "selection.reg"):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        found[name] = Path(download.value.path())
    table = pd.read_csv(found["selection.csv"])
    assert len(table) == COUNT
    assert HOSTILE_ID in set(table["cutout_id"])
    assert len(Table.read(found["selection.fits"], format="fits")) == COUNT
    regions = found["selection.reg"].read_text()
    assert len(re.findall(r"^circle\(", regions, re.MULTILINE)) == COUNT
    page.get_by_placeholder("class, such as").fill("odd")
    page.get_by_role("button", name="label them").click()
    page.get_by_text(f"odd ({COUNT})").wait_for()
    labels = pd.read_csv(served[1] / "labels.csv")
    assert set(labels["label"]) == {"odd"}
    assert len(labels) == COUNT


def test_a_source_under_the_pointer_is_marked_on_the_other_map_and_from_a_list(page):
    page.get_by_role("combobox", name="second map").select_option("sky")
    page.wait_for_function("() => maps[1].xy.length > 0 && maps[1].view")
    hover_over_a_source(page)
    rings = "maps.map(({ ring, canvas }) => ring.getBoundingClientRect().x + 11 - canvas.getBoundingClientRect().x)"
    place = "maps.map((map) => map.toScreen(maps[0].hovered)[0])"
    assert page.evaluate(rings) == pytest.approx(page.evaluate(place), abs=1)
    page.mouse.move(5, 5)
    page.wait_for_function("() => maps.every((map) => map.ring.hidden)")
    go_to(page, "s03")
    page.locator(".rs-sheet .rs-thumb").nth(2).hover()
    page.wait_for_function("() => maps.every((map) => !map.ring.hidden)")


def test_a_box_that_is_drawn_is_zoomed_to_and_chooses_nothing(page):
    box = map_box(page)
    page.get_by_role("button", name="box", exact=True).click()
    wanted = page.evaluate("[maps[0].toMap(100, 150), maps[0].toMap(300, 250)].flat()")
    page.mouse.move(box["x"] + 300, box["y"] + 250)  # from any corner
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 150, steps=5)
    page.mouse.up()
    left, right, bottom, top = page.evaluate("maps[0].limits")
    assert [left, right] <= [wanted[0], wanted[2]]
    assert [(left + right) / 2, (bottom + top) / 2] == pytest.approx(
        [(wanted[0] + wanted[2]) / 2, (wanted[1] + wanted[3]) / 2]
    )
    shown = [(right - left) / (wanted[2] - wanted[0]), (top - bottom) / (wanted[1] - wanted[3])]
    assert min(shown) == pytest.approx(1)
    assert page.evaluate("[page.mask, page.tool]") == [None, None]
    page.wait_for_url("**limits=**")


def test_a_click_on_the_legend_chooses_a_class_and_a_range_is_drawn_over_a_histogram(page):
    page.locator("#legend").get_by_role("button", name="double").click()
    page.get_by_text(f"{COUNT // 3} sources chosen").first.wait_for()
    tab(page, "Filter")
    page.get_by_role("checkbox", name="double").wait_for()
    page.get_by_role("combobox", name="column to filter by").select_option("flux")
    page.get_by_role("textbox", name="smallest flux").wait_for()
    bars = page.locator(".rs-bars").first.bounding_box()
    page.mouse.move(bars["x"] + 0.5 * bars["width"], bars["y"] + 20)
    page.mouse.down()
    page.mouse.move(bars["x"] + bars["width"] + 30, bars["y"] + 20, steps=4)
    page.mouse.up()
    page.locator("#panel-Filter").get_by_text(f"{COUNT // 6} of {COUNT} sources").wait_for()
    assert float(page.get_by_role("textbox", name="smallest flux").input_value()) == pytest.approx(14.75, abs=0.2)
    assert page.get_by_role("textbox", name="largest flux").input_value() == ""
    page.mouse.click(bars["x"] + 0.2 * bars["width"], bars["y"] + 20)
    page.locator("#panel-Filter").get_by_text(f"{COUNT // 3} of {COUNT} sources").wait_for()
    page.locator("#legend").get_by_role("button", name="double").click()
    page.get_by_text("Choose a column").wait_for()


def test_the_picture_has_a_scale_bar_and_the_windows_that_scroll_go_to_it(browser, served):
    page = open_page(browser, served[0], 390, 844)
    canvas = page.locator(".map canvas").first
    canvas.scroll_into_view_if_needed()
    x, y = page.evaluate("maps[0].toScreen(3)")
    canvas.click(position={"x": x, "y": y})
    bar = page.locator("#source .rs-length")
    bar.get_by_text("20″").wait_for()
    width = page.locator("#source .thumb").first.bounding_box()["width"]
    assert bar.bounding_box()["width"] == pytest.approx(width * 20 / (40 * 1.8), abs=1)
    page.wait_for_function(
        "() => document.querySelector('#source .thumb').getBoundingClientRect().bottom <= innerHeight + 1"
    )
    page.get_by_text("the cutout's own values").click()
    page.get_by_role("rowheader", name="pixel_scale_arcsec").wait_for()
    page.context.close()


def test_filters_narrow_each_other_and_become_a_selection(page):
    page.goto(page.url.split("#")[0].split("?")[0] + "?tab=Filter&theme=dark")  # as a link that somebody sent
    ready(page)
    page.get_by_role("combobox", name="column to filter by").select_option("flux")
    page.get_by_text("flux: ").first.wait_for()
    page.get_by_role("textbox", name="smallest flux").fill("15")
    page.get_by_role("textbox", name="smallest flux").press("Enter")
    page.locator("#panel-Filter").get_by_text(f"{COUNT // 2} of {COUNT} sources").wait_for()
    page.get_by_role("combobox", name="column to filter by").select_option("ra_deg")
    page.get_by_text("ra_deg [deg]: ").first.wait_for()
    page.get_by_role("textbox", name="largest ra_deg").fill("14.05")
    page.get_by_role("textbox", name="largest ra_deg").press("Enter")
    page.locator("#panel-Filter").get_by_text(f"11 of {COUNT} sources").wait_for()
    tab(page, "Selection")
    page.get_by_text("11 sources chosen").first.wait_for()
    tab(page, "Filter")
    page.get_by_role("button", name="remove all filters").click()
    page.get_by_text("Choose a column").wait_for()


def test_news_from_elsewhere_wait_until_nobody_types(page):
    tab(page, "Filter")
    page.get_by_role("combobox", name="column to filter by").select_option("flux")
    field = page.get_by_role("textbox", name="smallest flux")
    field.fill("15")
    page.evaluate("start.now = {...start.now, start: -1}")  # as when a column has been computed meanwhile
    page.wait_for_function("() => page.stale")
    assert field.input_value() == "15"
    field.press("Enter")
    page.locator("#panel-Filter").get_by_text(f"{COUNT // 2} of {COUNT} sources").wait_for()
    page.locator("h1").click()
    page.wait_for_function("() => !page.stale")
    page.get_by_role("button", name="remove all filters").click()
    page.get_by_text("Choose a column").wait_for()


def test_a_cluster_is_chosen_and_the_address_brings_it_back(page):
    tab(page, "Clusters")
    page.get_by_role("button", name="choose them").first.wait_for()
    heading = page.locator("h3").first.inner_text()
    number = int(re.search(r"([\d,]+) sources", heading)[1])
    page.get_by_role("button", name="choose them").first.click()
    page.get_by_text(f"{number} sources chosen").first.wait_for()
    page.get_by_role("combobox", name="colour of the map").locator("option:checked", has_text="cluster").wait_for(
        state="attached"
    )
    page.wait_for_url("**chosen_by=**")
    page.reload()
    ready(page)
    page.get_by_text(f"{number} sources chosen").first.wait_for()
    assert page.get_by_role("combobox", name="colour of the map").input_value() == "cluster"


def test_an_address_restores_all_that_a_page_shows(page):
    home = page.url.split("#")[0].split("?")[0]
    said = "colour=flux&second=sky&stretch=log&colour_map=gray&tab=Clusters&limits=0,1,0,0.5&second_limits=0,0.1,0,0.1"
    page.goto(f"{home}?{said}#source-s07")
    for _ in range(2):
        page.get_by_role("heading", name="s07", exact=True).wait_for()
        page.get_by_role("button", name="choose them").first.wait_for()
        chosen = page.evaluate("[state.colour, state.second, state.stretch, state.colour_map, state.tab]")
        assert chosen == ["flux", "sky", "log", "gray", "Clusters"]
        page.wait_for_function("() => maps.every((map) => map.xy.length > 0 && map.view)")
        assert page.evaluate("[maps[0].limits, maps[1].limits]") == [[0, 1, 0, 0.5], [0, 0.1, 0, 0.1]]
        assert page.evaluate("maps[0].view.slice(0, 2)") == pytest.approx([0.5, 0.25])
        # A source is marked on both maps.
        assert page.evaluate("page.row") == 7
        assert page.evaluate("maps[1].canvas.clientHeight") > 100
        for part in said.split("&"):
            assert part in urllib.parse.unquote(page.url)
        page.reload()


@pytest.mark.parametrize("damaged", ["x", "[1]", '{"a":1}', "[" * 999, '{"lasso":"sky","corners":"1 2 x"}'])
def test_a_damaged_address_chooses_nothing(page, damaged):
    home = page.url.split("#")[0].split("?")[0]
    page.goto(f"{home}?tab=Selection&limits=1,x&colour=none&chosen_by={urllib.parse.quote(damaged)}")
    page.get_by_text("Choose sources with the lasso").wait_for()
    page.wait_for_function("() => !location.search.includes('chosen_by')")
    assert page.evaluate("[page.mask, maps[0].limits, state.colour]") == [None, None, "kind"]
    go_to(page, "s01")


def test_keys_alone_reach_everything(page):
    page.locator("body").press("Tab")
    reached = set()
    for _ in range(60):
        reached.add(
            page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label') || ''")
        )
        page.keyboard.press("Tab")
    for part in ("find", "who", "theme", "map_name", "colour", "lasso", "whole", "tab-Neighbours"):
        assert part in reached, reached
    canvas = page.locator(".map canvas").first
    canvas.focus()
    page.keyboard.press("+")
    page.wait_for_function("() => maps[0].limits !== null")
    page.keyboard.press("Enter")
    page.locator("#source h2").wait_for()
    page.keyboard.press("0")
    page.wait_for_function("() => maps[0].limits === null")
    page.locator("#tab-Neighbours").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#panel-Anomalies .rs-thumb").first.wait_for()
    page.locator("#panel-Anomalies .rs-thumb").nth(2).focus()
    page.keyboard.press("Enter")
    name = page.locator("#panel-Anomalies .rs-thumb").nth(2).get_attribute("title")
    page.get_by_role("heading", name=name, exact=True).wait_for()
    assert page.evaluate("document.activeElement.title") == name  # a list that is drawn anew keeps the focus


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing_serious(browser, served, scheme):
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    page = open_page(browser, f"{served[0]}&second=sky#source-s03", scheme=scheme)
    page.get_by_role("heading", name="s03", exact=True).wait_for()
    page.evaluate(axe.AXE_SCRIPT)  # the page's policy lets no script of another in, the browser's own tools do
    for name in ("Neighbours", "Anomalies", "Clusters", "Search", "Filter", "Selection"):
        tab(page, name)
        found = page.evaluate("axe.run().then((found) => found.violations)")
        serious = [
            (one["id"], [node["html"][:200] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], name
    page.context.close()


def test_colours_stretches_and_both_themes(page, served, browser):
    for name in ("map", "colour of the map", "stretch of the cutouts", "colours of the cutouts"):
        page.get_by_role("combobox", name=name, exact=True).wait_for()  # as screen readers call them
    page.get_by_role("combobox", name="colour of the map").select_option("kind")
    page.get_by_text("triple").first.wait_for()
    page.get_by_role("combobox", name="colour of the map").select_option("flux")
    page.locator(".rs-scale").wait_for()
    go_to(page, "s05")
    pixels = """image => {
        const canvas = new OffscreenCanvas(8, 8), context = canvas.getContext("2d");
        context.drawImage(image, 0, 0, 8, 8);
        return [...context.getImageData(0, 0, 8, 8).data];
    }"""
    image = page.locator("#source img[alt='cutout of s05']")
    before, address = image.evaluate(pixels), image.get_attribute("src")
    page.get_by_role("combobox", name="stretch of the cutouts").select_option("log")
    page.locator(f"#source img:not([src='{address}'])").wait_for()
    assert image.evaluate(pixels) != before
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_text("light page").click()
    page.get_by_text("dark page").wait_for()
    page.wait_for_function("() => location.search.includes('theme=light')")
    assert page.evaluate(colour) != dark


def test_other_hosts_are_refused(served):
    request = urllib.request.Request(served[0], headers={"Host": "evil.example:80"})  # with the right token
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 403


def test_bound_elsewhere_only_the_token_opens(browser, survey, tmp_path):
    with explorer(survey, tmp_path, "--address", "0.0.0.0") as (address, _):
        port = address.split(":")[2].split("/")[0]
        here = f"http://127.0.0.1:{port}/"
        for wrong in ("", "?token=", "?token=wrong"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(here + wrong)
            assert refused.value.code == 403
        token = address.split("token=")[1]
        assert len(token) > 40
        page = open_page(browser, f"{here}?token={token}")
        go_to(page, "s02")
        page.goto(here)  # the cookie is enough now
        ready(page)
        page.context.close()
        # Every address asks for it, those that do not exist too.
        with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as raw:
            raw.sendall(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: bokeh, x\r\n\r\n".encode()
            )
            assert raw.recv(200).startswith(b"HTTP/1.1 403")


def test_the_server_gone_is_said_keys_are_refused_and_the_page_comes_back(browser, survey, tmp_path):
    port = free_port()
    with explorer(survey, tmp_path, port=port) as (address, process):
        page = open_page(browser, address)
        go_to(page, "s03")
        page.get_by_role("combobox", name="stretch of the cutouts").select_option("log")
        page.wait_for_url("**stretch=log**")
        assert "token" not in page.url
        page.locator("h2").first.click()  # out of the field
        page.keyboard.press("4")
        page.get_by_text("s03: rated 4, saved").wait_for()
        page.get_by_placeholder("your name").fill("half a na")
        process.kill()
        banner = page.locator("#rs-banner")
        banner.get_by_text("Connection lost").wait_for()
        page.locator("h2").first.click()
        page.keyboard.press("2")
        banner.get_by_text("NOT SAVED").wait_for()
    with explorer(survey, tmp_path, port=port):
        banner.wait_for(state="hidden")
        page.get_by_role("heading", name="s03", exact=True).wait_for()
        assert page.get_by_role("combobox", name="stretch of the cutouts").input_value() == "log"
        assert page.get_by_placeholder("your name").input_value() == "half a na"
        page.locator("h2").first.click()
        page.keyboard.press("5")
        page.get_by_text("s03: rated 5, saved").wait_for()
        page.context.close()
    assert read_ratings(tmp_path / "ratings.csv")["rating"].tolist() == [4, 5]


def test_two_people_see_each_others_ratings_and_take_back_their_own(browser, survey, tmp_path):
    with explorer(survey, tmp_path) as (address, _):
        pages = {}
        for name, rating in (("ada", 5), ("bob", 4)):
            page = pages[name] = open_page(browser, address)
            field = page.get_by_placeholder("your name")
            field.fill(name)
            field.press("Enter")
            page.get_by_text(f"saved as {name}'s").wait_for()
            go_to(page, "s02")
            page.locator("h2").first.click()
            page.keyboard.press(str(rating))
            page.get_by_text(f"s02: rated {rating}, saved").wait_for()
        pages["ada"].get_by_text("ada 5").filter(has_text="bob 4").wait_for()
        tab(pages["ada"], "Anomalies")
        pages["ada"].get_by_text("2 people, 100% of 1 pair within 1").wait_for()
        pages["bob"].keyboard.press("u")
        pages["bob"].get_by_text("your last rating is taken back").wait_for()
        pages["ada"].get_by_text("bob 4").wait_for(state="hidden")
        assert read_ratings(tmp_path / "ratings.csv")[["who", "rating"]].to_numpy().tolist() == [["ada", 5]]
        pages["bob"].reload()
        ready(pages["bob"])
        pages["bob"].wait_for_function("() => localStorage.getItem('radiossl-name') === 'bob'")
        for page in pages.values():
            page.context.close()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (900, 700), (1440, 900), (3840, 2160)])
def test_every_window_shows_the_whole_page(browser, served, width, height):
    page = open_page(browser, served[0] + "#source-s04", width, height, "light")
    page.get_by_role("heading", name="s04", exact=True).wait_for()
    page.get_by_text("dark page").wait_for()  # as light as the system
    page.get_by_text("most like s04").wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (".map canvas", "img[alt='cutout of s04']", ".rs-sheet"):
        found = page.locator(part).first
        found.scroll_into_view_if_needed()
        box = found.bounding_box()
        assert box["width"] > 150, part
        assert box["x"] >= 0, part
        assert box["x"] + box["width"] <= width + 1, part
    page.context.close()


def test_an_error_of_the_program_is_a_line_on_the_page(browser, served, survey, tmp_path):
    with explorer(survey, tmp_path, "--ratings", str(tmp_path / "r.csv")) as (address, _):
        page = open_page(browser, address)
        go_to(page, "s01")
        (tmp_path / "r.csv").write_text("not,ratings\n1,2\n")
        page.get_by_text("Something went wrong").wait_for()
        page.locator("h2").first.click()
        page.keyboard.press("3")
        page.get_by_text("NOT SAVED").first.wait_for()
        page.context.close()
