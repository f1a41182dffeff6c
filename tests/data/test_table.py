"""The table that every source returns."""

from pathlib import Path

import numpy as np
import pytest

from mmrun.data.table import Column, Table, Target, hash_targets

LABEL = Target("classification", np.array([0, 1, -100]), ["cat", "dog"])


def test_missing_values_are_absent():
    assert Column("text", ["a", None, ""]).is_present().tolist() == [True, False, True]


def test_rows_are_named_by_their_place_or_their_number():
    assert Column("text", ["a"], ["my.csv:2"]).locate(0) == "my.csv:2"
    assert Column("text", ["a"]).locate(0) == "row 0"


def test_a_column_is_from_files_if_any_row_is():
    assert Column("text", ["a", Path("b.txt")]).from_files
    assert not Column("text", ["a", "b.txt"]).from_files


def test_rows_of_a_split_are_ascending():
    table = Table(["x", "y", "z"], {}, {}, np.array(["val", "train", "val"]), "hash")
    assert [table.rows(split).tolist() for split in ("train", "val", "test")] == [[1], [0, 2], []]


@pytest.mark.parametrize(
    "other",
    [
        {"label": Target("classification", np.array([1, 1, -100]), ["cat", "dog"])},
        {"label": Target("classification", np.array([0, 1, -100]), ["cat", "fox"])},
        {"label": Target("ordinal", np.array([0, 1, -100]), ["cat", "dog"])},
        {"animal": LABEL},
    ],
    ids=["values", "names", "task", "name"],
)
def test_the_hash_of_targets_is_of_names_tasks_and_values(other):
    assert hash_targets({"label": LABEL}) != hash_targets(other)


def test_the_order_of_targets_does_not_change_their_hash():
    age = Target("regression", np.array([1.0, 2.0, np.nan]), ["age"])
    assert hash_targets({"label": LABEL, "age": age}) == hash_targets({"age": age, "label": LABEL})
