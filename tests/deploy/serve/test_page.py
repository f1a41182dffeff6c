"""The page of a served run, in a real headless Chromium."""

import numpy as np
import pytest
from PIL import Image

from tests.browser import CHROMIUM, Browser
from tests.deploy.serve.things import draw_photo, play_sound

EXPLAINED = "document.getElementById('status').textContent == 'Predicted and explained.'"


@pytest.fixture
def open_page(served, tmp_path):
    """Return a function that opens a page of the server."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    opened = []

    def open_with(path="/", ready="document.querySelectorAll('fieldset').length == 5", **options):
        browser = Browser(tmp_path / f"profile{len(opened)}", **options)
        opened.append(browser)
        browser.open(served.url + path)
        browser.wait_for(ready)
        return browser

    yield open_with
    for browser in opened:
        browser.close()


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_a_row_is_filled_in_predicted_and_explained(open_page, tmp_path, width, is_dark):
    page = open_page(width=width, is_dark=is_dark)
    (tmp_path / "thing.png").write_bytes(draw_photo(1))
    (tmp_path / "thing.wav").write_bytes(play_sound(1))
    page.choose_file("#file-photo", tmp_path / "thing.png")
    page.choose_file("#file-sound", tmp_path / "thing.wav")
    page.evaluate("document.getElementById('cell-note').focus()")
    page.type("a large thing")
    page.press("Tab")
    page.type("31")
    assert page.evaluate("[...document.getElementById('cell-city').options].map(o => o.value)") == ["", "Oslo", "Rome"]
    page.evaluate("document.getElementById('cell-city').value = 'Oslo'")
    page.evaluate("document.getElementById('predict').focus()")
    page.press("Enter")
    page.wait_for(EXPLAINED)
    assert page.evaluate("document.querySelector('.answer').textContent") in ("box", "cup")
    names = page.evaluate(
        "[...document.querySelectorAll('#explanation > .bars dt')].map(d => d.firstChild.textContent)"
    )
    assert names == ["photo", "sound", "note", "body"]
    assert page.evaluate("document.querySelectorAll('.panel img').length") == 4
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.console == []
    page.screenshot(tmp_path / "shot.png")
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB"))
    paper = pixels[2, 2]
    assert paper.max() < 40 if is_dark else paper.min() == 255
    assert 0.02 < (np.abs(pixels.astype(int) - paper).max(axis=2) > 60).mean() < 0.6


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(open_page):
    page = open_page()
    unnamed = """[...document.querySelectorAll('input, select, textarea, button')].filter(control =>
        !control.labels?.length && !control.getAttribute('aria-label') && !control.textContent.trim()).length"""
    assert page.evaluate(unnamed) == 0
    reached = set()
    for _ in range(14):
        page.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"file-photo", "file-sound", "Record", "cell-note", "cell-weight", "cell-city", "predict"} <= reached


def test_an_error_is_shown_at_its_field(open_page, tmp_path):
    page = open_page()
    (tmp_path / "thing.png").write_text("no picture")
    page.choose_file("#file-photo", tmp_path / "thing.png")
    page.evaluate("document.getElementById('predict').click()")
    page.wait_for("document.getElementById('problem').textContent.startsWith('photo the file is damaged')")
    assert page.evaluate("document.activeElement.id") == "file-photo"
    page.evaluate("document.querySelector('button[type=reset]').click()")
    assert page.evaluate("document.getElementById('problem').textContent") == ""


def test_what_a_user_types_is_text(open_page):
    page = open_page()
    page.evaluate("document.getElementById('cell-note').focus()")
    page.type("<img src=x onerror=alert(1)> <script>alert(1)</script>")
    page.evaluate("document.getElementById('predict').click()")
    page.wait_for(EXPLAINED)
    assert page.evaluate("document.querySelector('.text').textContent").startswith("<img src=x onerror=alert(1)>")
    assert page.evaluate("document.querySelectorAll('.text img, .text script').length") == 0


def test_a_sound_is_recorded(open_page):
    page = open_page()
    page.evaluate("[...document.querySelectorAll('button')].find(b => b.textContent == 'Record').click()")
    page.wait_for("[...document.querySelectorAll('button')].some(b => b.textContent == 'Stop')")
    page.evaluate("new Promise(resolve => setTimeout(resolve, 600))")
    page.evaluate("[...document.querySelectorAll('button')].find(b => b.textContent == 'Stop').click()")
    page.wait_for("document.querySelector('audio') && document.querySelector('audio').duration > 0.2")
    page.evaluate("document.getElementById('predict').click()")
    page.wait_for(EXPLAINED)
    assert page.console == []


def test_the_docs_show_commands_for_this_run(open_page):
    page = open_page("/docs", "document.querySelectorAll('pre').length == 2")
    text = page.evaluate("document.body.textContent")
    assert "-F 'photo=@FILE'" in text
    assert "2 known: Oslo, Rome" in text
    assert page.console == []
