"""What a header claims is checked before memory is taken; tests/security tries whole files."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from mmrun.data import limits
from mmrun.data.sheets.table_files import read_sheet
from mmrun.errors import DataError


def test_an_image_of_too_many_pixels(monkeypatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 1_000_000)
    limits.check_image(Image.new("L", (1000, 1000)), "big.png")
    with pytest.raises(DataError, match=r"^big.png has 1001 x 1000 pixels; more than 1 million are refused"):
        limits.check_image(Image.new("L", (1001, 1000)), "big.png")


def test_an_array_of_too_many_values(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_VALUES", 1_000_000)
    np.save(tmp_path / "big.npy", np.zeros(1_000_001, dtype=np.int8))
    with pytest.raises(DataError, match=r"^big.npy has 1,000,001 values; more than 1 million are refused"):
        limits.open_array(tmp_path / "big.npy")


def test_a_text_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_TEXT_BYTES", 1 << 20)
    (tmp_path / "long.txt").write_bytes(b"a" * (1 << 20))
    assert len(limits.read_text(tmp_path / "long.txt")) == 1 << 20
    (tmp_path / "long.txt").write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(DataError, match=r"^long.txt is larger than 1 MiB; shorten it$"):
        limits.read_text(tmp_path / "long.txt")


@pytest.mark.parametrize("brackets", [33, 100_000])
def test_json_that_is_too_deep(brackets):
    assert limits.parse_json('{"a": [1, [2]]}') == {"a": [1, [2]]}
    with pytest.raises(ValueError, match="more than 32 brackets inside each other"):
        limits.parse_json("[" * (brackets + 1) + "]" * (brackets + 1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1, "b": 2, "a": 3}]', "the key 'a' occurs twice in an object"),
        (r'{"a": "\ud83d"}', r"\ud83d is half a character"),
        (rb'{"a": ["\udC00\ud800"]}', r"\udc00 is half a character"),
    ],
)
def test_json_of_which_something_would_be_lost(text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        limits.parse_json(text)
    assert limits.parse_json(r'["\ud83d\ude00"]') == ["\U0001f600"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("wide.csv", ",".join(f"x{i}" for i in range(20_001)) + "\n" + ",".join(["1"] * 20_001) + "\n"),
        ("wide.jsonl", json.dumps({f"x{i}": 1 for i in range(20_001)}) + "\n"),
    ],
)
def test_a_table_of_too_many_columns(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    with pytest.raises(DataError) as error:
        read_sheet(tmp_path / file)
    assert str(error.value) == (
        f"{file}: has 20,001 columns, more than 20,000; write the numbers of one signal into a file per row (.npy), "
        "and name these files in one column"
    )
