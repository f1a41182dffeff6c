"""mmrun data stats: the tables, the page, and what it refuses."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrun.cli import main

SCRIPT = "<script>alert(1)</script>"
MAX_PAGE_BYTES = 5_000_000


@pytest.fixture(autouse=True)
def rows(tmp_path, monkeypatch):
    """Forty rows of all kinds, whose cells and names are markup wherever they may be."""
    monkeypatch.chdir(tmp_path)
    lines = [f"photo,sound,pulse,words,age<b>,town,{SCRIPT}"]
    for row in range(40):
        Image.new("RGB", (12, 12), (row, 0, 0)).save(f"{row}.png")
        soundfile.write(f"{row}.wav", np.full(400, 0.1), 8000)
        np.save(f"{row}.npy", np.full((2, 20), row))
        words = f'a fever <img src=x onerror=alert(2)> & ""pain"" {row}'
        label = ("</style>" + SCRIPT, "cold")[row % 2]
        lines.append(
            f'{row}.png,{row}.wav,{row}.npy,"{words}",{row}.5,"{"]]>" if row % 2 else "<svg onload=alert(3)>"}",{label}'
        )
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")


class Page(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes


def run(capsys, *words):
    code = main(["data", "stats", "my.csv", f"target={SCRIPT}", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_table_in_the_terminal(capsys):
    code, printed, _ = run(capsys)
    assert code == 0
    assert re.search(r"all rows +32 +4 +4\n", printed)
    assert re.search(r"cold +16 \(50\.0%\) +2 \(50\.0%\) +2 \(50\.0%\)\n", printed)
    assert re.search(r"tabular +age<b> +0\.5 +20 +39\.5 +0\n", printed)


def test_all_numbers_as_json(capsys):
    _, printed, _ = run(capsys, "--format", "json")
    document = json.loads(printed)
    assert document["rows"] == {"train": 32, "val": 4, "test": 4}
    assert document["modalities"]["photo"]["distributions"]["width (pixels)"]["median"] == 12


def test_the_page_shows_markup_as_text_and_loads_nothing(capsys, tmp_path):
    code, _, printed = run(capsys, "-o", "page.html")
    assert (code, printed) == (0, "wrote page.html\n")
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert len(text) < MAX_PAGE_BYTES
    assert page.tags.count("script") == 1
    assert page.tags.count("style") == text.count("<style")
    assert page.tags.count("img") == page.tags.count("audio") == 6
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    urls = [value for name, value in page.attributes if name in ("src", "href")]
    assert all(url.startswith(("data:image/jpeg;base64,", "data:audio/wav;base64,", "#")) for url in urls)
    assert "default-src 'none'" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "my.csv"], "-o my.csv: a page is written; name an .html file"),
        (["-o", "no/page.html"], "-o no/page.html: there is no folder no"),
        (["target"], "'target' is not of the form KEY=VALUE; write for example target=diagnosis"),
    ],
)
def test_what_is_refused(capsys, words, message):
    code, _, printed = run(capsys, *words)
    assert (code, printed) == (2, f"mmrun: {message}\n")


def test_a_target_that_is_not_there(capsys):
    assert main(["data", "stats", "my.csv", "target=cold"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: dataset.target: my.csv has no column 'cold'")
