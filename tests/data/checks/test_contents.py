import numpy as np

from mmrun.data.checks.contents import combine, number_contents
from mmrun.data.packed import PackedValues, Records
from mmrun.data.table import Column


def test_files_are_compared_by_what_they_hold(tmp_path):
    for name, content in {"a": b"12", "b": b"12", "c": b"13", "d": b"1"}.items():
        (tmp_path / name).write_bytes(content)
    values = [tmp_path / "a", None, tmp_path / "b", tmp_path / "c", tmp_path / "d", tmp_path / "a"]
    assert number_contents(Column("image", values)).tolist() == [0, -1, 0, 1, 2, 0]


def test_large_files_are_compared_by_both_ends(tmp_path):
    content = bytearray(3 << 20)
    (tmp_path / "a").write_bytes(content)
    content[-1] = 1
    (tmp_path / "b").write_bytes(content)
    assert number_contents(Column("audio", [tmp_path / "a", tmp_path / "b"])).tolist() == [0, 1]


def test_cells_are_compared_as_names_and_texts_as_they_are():
    records = Records({"a": PackedValues(["7", "7.0", "8", None]), "b": PackedValues([1, 1, 1, None])})
    numbers = number_contents(Column("tabular", records))
    assert numbers[0] == numbers[1] != numbers[2]
    assert numbers[3] == -1
    assert number_contents(Column("text", ["7", "7.0", None, "7"])).tolist() == [0, 1, -1, 0]
    many = PackedValues(["x", None, "y", "x"] * 1000)
    assert number_contents(Column("text", many))[:4].tolist() == [0, -1, 1, 0]


def test_arrays_are_compared_by_shape_type_and_values():
    arrays = [np.zeros(4), np.zeros((2, 2)), np.zeros(4, dtype=np.float32), np.zeros(4)]
    assert number_contents(Column("series", arrays)).tolist() == [0, 1, 2, 0]


def test_rows_are_equal_where_all_columns_are():
    combined = combine([np.array([0, 0, 1, -1, 0]), np.array([5, 6, 5, 5, 5])], 5)
    assert combined[0] == combined[4]
    assert len(set(combined.tolist())) == 4
