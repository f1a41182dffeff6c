import pytest

from mmrun.data.names import find_near_equal, normalize_name, sort_names


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
