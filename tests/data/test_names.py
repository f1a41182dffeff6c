import numpy as np
import pytest

from mmrun.data.names import collect_names, find_near_equal, normalize_name, sort_names
from mmrun.data.packed import PackedValues


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (True, "true"),
        (7, "7"),
        (7.0, "7"),
        ("7.0", "7"),
        (" 7 ", "7"),
        ("7.50", "7.50"),
        ("007", "007"),
        ("cafe\u0301", "caf\u00e9"),
        ("p7\u00a0", "p7"),
        ("--1", "--1"),
        ("1.0.0", "1.0.0"),
    ],
)
def test_a_cell_as_a_name(cell, name):
    assert normalize_name(cell) == name


def test_names_that_are_nearly_equal():
    names = ["Good", "good", "goo d", "bad", "7", "007", "p7", "p7\u200b", "\uff17"]
    assert find_near_equal(names) == [
        ("007", "7"),
        ("Good", "goo d"),
        ("Good", "good"),
        ("p7", "p7\u200b"),
        ("007", "\uff17"),
    ]
    assert find_near_equal(["caf\u00e9", "cafe", "1", "2", "-1", "1.5"]) == []


def test_integers_are_sorted_by_size():
    assert sort_names({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert sort_names({"10", "9", "--1"}) == ["--1", "10", "9"]


def test_a_long_name_is_held_once_whatever_the_number_of_its_rows():
    rows = PackedValues.from_codes(["a" * 1_000_000, "b"], np.arange(100_000) % 2)
    names = collect_names(rows)
    assert names.dtype == object
    assert len(names) == 100_000
    assert names[1] == "b"
    assert names[0] is names[2]


def test_short_names_are_an_array_of_text():
    assert collect_names(PackedValues(["ann", "bo", "ann"])).tolist() == ["ann", "bo", "ann"]


def test_zero_has_one_name():
    assert {normalize_name(cell) for cell in (0, 0.0, -0.0, "-0.0", "0")} == {"0"}


def test_names_of_thousands_of_digits():
    long = "1" * 5000
    assert sort_names([long, "2"]) == [long, "2"]
    assert find_near_equal([long, "2"]) == []
