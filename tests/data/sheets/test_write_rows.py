import numpy as np
import pytest

from mmrun.data.packed import PackedValues
from mmrun.data.sheets.table_files import read_sheet
from mmrun.data.sheets.write_rows import check_cells, write_rows
from mmrun.errors import DataError

CELLS = {
    "text": ["=1+1", 'a "quoted", one', "two\nlines", None],
    "number": [1, 2.5, None, 4],
    "größe": ["猫", "-", " 7", "x"],
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_the_cells_of_the_chosen_rows_stay_as_they_are(tmp_path, suffix):
    file = tmp_path / f"x{suffix}"
    columns = {name: PackedValues(cells) for name, cells in CELLS.items()}
    check_cells(columns, suffix)
    write_rows(columns, np.array([0, 1, 3]), file, suffix)
    written = {name: list(cells) for name, cells in read_sheet(file).columns.items()}
    are_typed = suffix in (".jsonl", ".parquet")
    assert written == {
        "text": ["=1+1", 'a "quoted", one', None],
        "number": [1, 2.5, 4] if are_typed else ["1", "2.5", "4"],
        "größe": ["猫", "-", "x"],
    }


@pytest.mark.parametrize(
    ("cells", "suffix", "message"),
    [
        ([[1, 2]], ".csv", "column 'x' holds lists; name a .jsonl file"),
        ([b"\x89PNG"], ".csv", "column 'x' holds bytes; name a .parquet file"),
        ([b"\x89PNG"], ".jsonl", "column 'x' holds bytes; name a .parquet file"),
        ([1, "a"], ".parquet", "column 'x' holds cells of several types; name a .jsonl file"),
    ],
)
def test_a_format_that_cannot_hold_a_cell_is_refused(cells, suffix, message):
    with pytest.raises(DataError) as error:
        check_cells({"x": PackedValues(cells)}, suffix)
    assert str(error.value) == message
