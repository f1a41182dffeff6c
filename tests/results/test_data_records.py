"""The digests of a data set in the folder of a run."""

import numpy as np
import pytest

from mmrun.data.row_digests import DataRecord
from mmrun.errors import DataError
from mmrun.results.data_records import read_data_record, write_data_record
from mmrun.results.folder import RunFolder


def test_digests_are_read_back(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert read_data_record(folder) is None
    rows = {"image": np.arange(6, dtype=np.uint8).reshape(3, 2), "label": np.ones((3, 2), dtype=np.uint8)}
    write_data_record(folder, DataRecord("f-1", rows))
    record = read_data_record(folder)
    assert record.fingerprint == "f-1"
    assert {name: digests.tolist() for name, digests in record.rows.items()} == {
        "image": [[0, 1], [2, 3], [4, 5]],
        "label": [[1, 1], [1, 1], [1, 1]],
    }


def test_a_damaged_file_says_how_to_mend_it(tmp_path):
    folder = RunFolder(tmp_path / "run")
    write_data_record(folder, DataRecord("f-1", {"label": np.ones((3, 2), dtype=np.uint8)}))
    folder.data_file.write_bytes(folder.data_file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"damaged \(.*\); put it back, or repeat the run with --rerun$"):
        read_data_record(folder)
