"""MM-IMDb: the rows of a tiny folder of its layout, and what is wrong with others."""

import pytest

from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare, write_text


def test_rows(tmp_path):
    prepared = prepare("mm_imdb", tmp_path)
    assert [row["split"] for row in prepared.rows] == ["train", "train", "val", "val", "test", "test"]
    assert prepared.rows[0] == {
        "id": "0000005",
        "image": "dataset/0000005.jpeg",
        "text": "A longer plot of 0000005.",
        "genres": "Comedy|Short",
        "split": "train",
    }
    assert prepared.rows[2]["genres"] == "Comedy"
    assert prepared.source.left_out == {"films of none of the 23 genres": 1}


def test_a_missing_poster_and_a_missing_description(tmp_path):
    def remove(folder):
        (folder / "dataset" / "0000008.jpeg").unlink()
        (folder / "dataset" / "0000010.json").unlink()

    prepared = prepare("mm_imdb", tmp_path, remove, allow_missing=True)
    assert prepared.source.missing == {"image": ["dataset/0000008.jpeg"], "text": ["dataset/0000010.json"]}
    assert prepared.rows[1]["image"] is None
    assert len(prepared.rows) == 5


def test_a_split_that_is_no_list_is_refused(tmp_path):
    def damage(folder):
        write_text(folder / "split.json", '{"train": {}, "dev": [], "test": []}')

    with pytest.raises(DataError, match=r"split\.json: 'train' is not a list; get the file again"):
        prepare("mm_imdb", tmp_path, damage)
