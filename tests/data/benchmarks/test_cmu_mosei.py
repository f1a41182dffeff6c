"""CMU-MOSEI: the rows of a tiny folder of its layout, and what is wrong with others."""

import pytest

from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare


def test_rows(tmp_path):
    rows = prepare("cmu_mosei", tmp_path).rows
    assert [row["split"] for row in rows] == ["train", "train", "val", "val", "test", "test"]
    assert rows[1] == {
        "id": "-3g5yACwYnA-13",
        "text": "that movie was 13",
        "audio": "Raw/-3g5yACwYnA/13.wav",
        "sentiment": "-0.6666667",
        "video": "-3g5yACwYnA",
        "split": "train",
    }


def test_an_unknown_mode_names_its_line(tmp_path):
    def damage(folder):
        table = folder / "label.csv"
        table.write_text(table.read_text().replace("valid", "dev"))

    with pytest.raises(DataError, match=r"label\.csv:4: mode is 'dev', not train, valid or test"):
        prepare("cmu_mosei", tmp_path, damage)
