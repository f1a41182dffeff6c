import json
import os
import zipfile

import numpy as np
import pytest

from mmrun.data.row_digests import DataRecord
from mmrun.errors import DamagedError
from mmrun.results.data_records import read_data_record, write_data_record
from tests.damage import damage
from tests.results.fabricate import finished

RECORD = DataRecord(
    "0123", {"split": np.arange(9, dtype=np.uint32)}, {"encoder.text": {"size": {"names": "ab", "numbers": "cd"}}}
)


@pytest.fixture
def folder(tmp_path):
    """A finished run with a record of its data."""
    folder = finished(tmp_path, accuracy=0.875)
    write_data_record(folder, RECORD)
    folder.finish(folder.read_metrics())
    return folder


def test_a_record_comes_back(folder):
    record = read_data_record(folder)
    assert (record.fingerprint, record.fits) == (RECORD.fingerprint, RECORD.fits)
    assert np.array_equal(record.rows["split"], RECORD.rows["split"])


@pytest.mark.parametrize("how", ["empty", "torn", "flipped"])
def test_a_damaged_record_is_named(folder, how):
    damage(folder.data_file, how)
    with pytest.raises(DamagedError, match=r"data\.npz: damaged, .*; put it back, or remove it: then rows that change"):
        read_data_record(folder)


def test_a_byte_that_a_zip_file_does_not_check_is_noticed(folder):
    content = bytearray(folder.data_file.read_bytes())
    content[10] ^= 1  # the time of the first member
    folder.data_file.write_bytes(content)
    with pytest.raises(DamagedError, match="its bytes changed after they were written"):
        read_data_record(folder)


def test_a_record_that_was_removed_is_not_missed(folder):
    folder.data_file.unlink()
    assert read_data_record(folder) is None


def write_hostile(file, kind):
    if kind == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif kind == "bomb":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("about.npy", b"")
            archive.infolist()[0].file_size = (1 << 30) + 1
    elif kind == "object":
        np.savez(file, about=np.array([{}], dtype=object))
    else:
        about = {"fingerprint": "0", "parts": ["split"], "fits": {"encoder.text": kind}}
        np.savez(file, about=np.array(json.dumps(about)), digests=np.zeros((1, 9), dtype=np.uint32))


@pytest.mark.parametrize("kind", ["pipe", "object", 1, {"size": 1}, {"size": {"names": 1}}])
def test_a_record_that_a_stranger_made_is_one_line(tmp_path, kind):
    folder = finished(tmp_path, accuracy=0.875)
    write_data_record(folder, RECORD)
    write_hostile(folder.data_file, kind)
    with pytest.raises(DamagedError, match=r"data\.npz: (damaged|cannot be read).*; put it back, or remove it"):
        read_data_record(folder)


def test_a_record_that_would_fill_the_memory_is_not_read(tmp_path):
    folder = finished(tmp_path, accuracy=0.875)
    write_data_record(folder, RECORD)
    write_hostile(folder.data_file, "bomb")
    with pytest.raises(DamagedError, match="its arrays have 1,073,741,825 bytes, more than 1,073,741,824"):
        read_data_record(folder)


def test_a_pipe_whose_digest_is_recorded_is_not_waited_for(folder):
    write_hostile(folder.data_file, "pipe")
    with pytest.raises(DamagedError, match=f"{folder.data_file}: cannot be read"):
        read_data_record(folder)
