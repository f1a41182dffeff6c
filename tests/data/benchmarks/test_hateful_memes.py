"""Hateful Memes: the rows of a tiny folder of its layout, and what is wrong with others."""

import pytest

from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare, write_text


def test_rows(tmp_path):
    rows = prepare("hateful_memes", tmp_path).rows
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert rows[0] == {
        "id": "1235",
        "image": "img/01235.png",
        "text": "its their 01235",
        "label": "1",
        "split": "train",
    }


def test_a_test_set_without_labels_is_left_out_and_counted(tmp_path):
    def hide(folder):
        (folder / "test_seen.jsonl").rename(folder / "test.jsonl")
        write_text(folder / "test.jsonl", '{"id": 7, "img": "img/00007.png", "text": "its"}\n')

    prepared = prepare("hateful_memes", tmp_path, hide)
    assert [row["split"] for row in prepared.rows] == ["train"] * 4 + ["val"] * 2
    assert prepared.source.left_out == {"test.jsonl has no labels": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 7', r"train.jsonl:1: is not JSON \(.*\); get the file again"),
        ("[7]", "train.jsonl:1: is not a JSON object; get the file again"),
        ('{"id": 7, "text": "a"}', "train.jsonl:1: lacks 'img'; get the file again"),
        ('{"id": 7, "text": "a", "label": 1, "img": "../a.png"}', "'..' is no name of a file in the folder"),
        ('{"id": 7, "text": "a", "label": 1, "img": "/etc/a.png"}', "'/etc' is no name of a file in the folder"),
        ('{"id": 7, "text": "a", "label": 1, "img": "a\\u0000/b.png"}', "is no name of a file in the folder"),
    ],
)
def test_damaged_and_hostile_lines(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        prepare("hateful_memes", tmp_path, lambda folder: write_text(folder / "train.jsonl", line + "\n"))
