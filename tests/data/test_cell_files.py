import pytest

from mmrun.data.cell_files import CellFiles
from mmrun.errors import StorageError


def test_equal_cells_are_one_file(tmp_path):
    files = CellFiles(tmp_path)
    assert files.store(b"a").read_bytes() == b"a"
    assert files.store(b"a") == files.store(b"a") != files.store(b"b")


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(StorageError) as error:
        CellFiles(tmp_path / "cache").store(b"a")
    assert str(error.value) == f"{tmp_path}/cache: cannot be written (Not a directory); set cache=FOLDER"
