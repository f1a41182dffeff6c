"""How several items are written in one cell."""

import pytest

from mmrun.data.items import split_items


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ("a.png", ["a.png"]),
        ("a.png|b.jpg", ["a.png", "b.jpg"]),
        (" a.png | b.png ", ["a.png", "b.png"]),
        ("a.png;b.png;", ["a.png", "b.png"]),
        ("a.png, b.png", ["a.png", "b.png"]),
        ("a.png|", ["a.png"]),
        ('["a.png", "b.png"]', ["a.png", "b.png"]),
        (["a.png", None, "b.png"], ["a.png", "b.png"]),
        ("Smith, John.png", ["Smith, John.png"]),  # not two names of files
        ("[broken", ["[broken"]),
        (b"bytes", [b"bytes"]),
    ],
)
def test_cells_are_split_where_each_part_is_a_file(cell, items):
    assert split_items(cell) == items
