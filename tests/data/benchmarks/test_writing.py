"""Manifests as CSV and Parquet."""

from pathlib import Path

import pytest
from pyarrow import parquet

from mmrun.data.benchmarks.writing import check_output, write_rows
from mmrun.errors import ConfigError, DataError

ROWS = [{"id": "1", "text": 'a "b",\nc', "count": 2}, {"id": "2", "text": None, "count": 3}]


def test_csv(tmp_path):
    write_rows(tmp_path / "rows.csv", ROWS, ".csv")
    assert (tmp_path / "rows.csv").read_text() == 'id,text,count\n1,"a ""b"",\nc",2\n2,,3\n'


def test_parquet(tmp_path):
    rows = [*ROWS, {"id": "3", "text": "d", "count": 4}] * 500
    write_rows(tmp_path / "rows.parquet", rows, ".parquet")
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == rows


def test_half_a_character_is_named(tmp_path):
    with pytest.raises(DataError, match="a text holds half a character after 'its '; correct it in the source"):
        write_rows(tmp_path / "rows.csv", [{"text": "its \ud800"}], ".csv")


@pytest.mark.parametrize(
    ("output", "suffix", "message"),
    [
        ("a.cvs", ".csv", r"-o a.cvs: '.cvs' is no format of a manifest; did you mean '.csv'\?"),
        ("a.csv", ".parquet", r"-o a.csv: images lie in the cells of this manifest; name a .parquet file"),
        ("no/a.csv", ".csv", r"-o no/a.csv: there is no folder no"),
    ],
)
def test_outputs_that_cannot_be_written(output, suffix, message):
    with pytest.raises(ConfigError, match=message):
        check_output(Path(output), suffix)
