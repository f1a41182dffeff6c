"""Rows of a request become values by column, or an error that says where."""

from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrun.deploy.serve.cells import read_rows
from mmrun.deploy.serve.problems import RequestError
from mmrun.deploy.serve.schema import Field, Modality, Schema, ServedTarget
from mmrun.deploy.serve.scratch import RequestFiles

SCHEMA = Schema(
    "run",
    [
        Modality("photo", "image", [Field("file", "photo", "image")]),
        Modality("note", "text", [Field("note", "note", "text")]),
        Modality("body", "tabular", [Field("height", "body", "number"), Field("city", "body", "category", ["Rome"])]),
        Modality("pulse", "series", [Field("pulse", "pulse", "series")]),
        Modality("scan", "points", [Field("scan", "scan", "points")]),
    ],
    [ServedTarget("label", "classification", ["a", "b"])],
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_subnormal=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(["file", "photo", "note", "body", "height", "city", "pulse", "label", "id", "nots"])


@pytest.fixture
def files(tmp_path):
    with RequestFiles(tmp_path) as files:
        yield files
    assert list(tmp_path.iterdir()) == []


def read(row, files):
    [read_row] = read_rows(SCHEMA, [row], files)
    return read_row


def test_files_are_written_for_as_long_as_the_request(files):
    row = read({"photo": "data:image/png;base64,aGFs bG8="}, files)
    assert row.values["file"].read_bytes() == b"hallo"


@pytest.mark.parametrize(
    ("start", "suffix"), [(b"ply\n", ".ply"), (b"# .PCD v0.7", ".pcd"), (b"\x93NUMPY", ".npy"), (b"\0\0\0\0", ".bin")]
)
def test_point_clouds_are_known_by_their_content(files, start, suffix):
    assert read({"scan": b64encode(start).decode()}, files).values["scan"].suffix == suffix


def test_a_cell_may_hold_several_files_where_the_run_reads_several(files):
    several = Schema("run", [Modality("photo", "image", [Field("photo", "photo", "image", is_list=True)])], [])
    [row] = read_rows(several, [{"photo": ["aGFsbG8=", "aG9sYQ=="]}], files)
    assert [path.read_bytes() for path in row.values["photo"]] == [b"hallo", b"hola"]
    with pytest.raises(RequestError) as caught:
        read_rows(several, [{"photo": ["aGFsbG8=", "b.png"]}], files)
    assert caught.value.where == "rows[0].photo[1]"
    with pytest.raises(RequestError) as caught:
        read_rows(several, [{"photo": ["aGFsbG8="] * 257}], files)
    assert (caught.value.where, caught.value.what) == ("rows[0].photo", "has 257 items, more than 256")


def test_cells_of_a_table_are_flat_or_in_an_object(files):
    assert read({"height": 180, "city": "Rome"}, files).values == {"height": 180, "city": "Rome"}
    assert read({"body": {"height": 180}}, files).values == {"height": 180}


def test_empty_cells_are_missing(files):
    assert read({"note": "a", "height": None, "city": " ", "pulse": float("nan")}, files).values == {"note": "a"}


def test_a_series_is_a_list_or_a_text(files):
    for cell in ([1, 2.5], "[1, 2.5]", "1, 2.5"):
        np.testing.assert_array_equal(read({"pulse": cell}, files).values["pulse"], np.array([1, 2.5], np.float32))


def test_a_text_is_never_the_name_of_a_file(files, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    assert read({"note": str(tmp_path / "secret.txt")}, files).values["note"] == str(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").unlink()


def test_names_that_mean_one_column_are_not_both_given(files):
    with pytest.raises(RequestError) as caught:
        read({"photo": "aGFsbG8=", "file": "aGFsbG8="}, files)
    assert (caught.value.where, caught.value.what) == ("rows[0].file", "is given twice, also as 'file'")


@settings(max_examples=60)
@given(row=JSON_VALUES | st.dictionaries(NAMES, JSON_VALUES, max_size=4))
def test_any_row_is_read_or_a_clear_error(row):
    values, error = {}, None
    with TemporaryDirectory() as folder, RequestFiles(Path(folder)) as files:
        try:
            values = read(row, files).values
        except RequestError as refused:
            error = refused
    assert set(values) <= {"file", "note", "height", "city", "pulse"}
    assert (error is None) == bool(values)
    if error is not None:
        assert 400 <= error.status < 500
        assert error.where.startswith("rows[0]")
        assert error.what
        assert error.mend
