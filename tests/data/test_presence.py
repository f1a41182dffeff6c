"""Which rows lack a modality, and what is said about it."""

import numpy as np
import pytest

from mmrun.data.presence import describe_missing, find_complete_rows, list_patterns, measure_missing
from mmrun.data.table import Column, Table
from mmrun.errors import DataError

SPLIT = np.array(["train", "train", "val", "test"])


def make_table(**columns):
    return Table([*"abcd"], {name: Column("text", cells) for name, cells in columns.items()}, {}, SPLIT, "")


def test_the_shares_of_each_split_are_described():
    table = make_table(text=["a", None, "b", "c"], words=["a", "b", "c", "d"])
    assert describe_missing(table, ["text", "words"]) == [
        "text: missing in 50.0% of train, 0.0% of val, 0.0% of test rows"
    ]


def test_a_modality_that_no_test_row_has_cannot_be_measured():
    table = make_table(text=["a", "b", "c", None])
    assert describe_missing(table, ["text"]) == [
        "text: missing in 0.0% of train, 0.0% of val, 100.0% of test rows; "
        "what it contributes cannot be measured on test rows"
    ]


def test_a_modality_that_no_training_row_has_is_an_error():
    table = make_table(text=[None, None, "c", "d"], words=["a", "b", "c", "d"])
    with pytest.raises(DataError) as error:
        describe_missing(table, ["text", "words"])
    assert str(error.value) == (
        "dataset: text is missing in every training row, so nothing can be learned from it; "
        "leave it out with modalities=[words], or put rows that have it into the training split"
    )


def test_complete_modalities_have_no_shares():
    present = {"a": np.array([True, True]), "b": np.array([True, False])}
    assert measure_missing(present, {"train": np.array([0]), "test": np.array([1])}) == {
        "b": {"train": 0.0, "test": 1.0}
    }


def test_rows_are_grouped_by_the_modalities_that_they_have():
    present = {"a": np.array([True, True, False, True]), "b": np.array([True, False, True, True])}
    patterns = [(pattern.modalities, pattern.places.tolist()) for pattern in list_patterns(present)]
    assert patterns == [(["a", "b"], [0, 3]), (["b"], [2]), (["a"], [1])]


def test_rows_with_every_modality_are_found():
    table = make_table(text=["a", None, "b", "c"], words=["a", "b", "c", "d"])
    assert find_complete_rows(table, ["text", "words"], np.array([0, 1])).tolist() == [0]
    with pytest.raises(DataError) as error:
        find_complete_rows(table, ["text", "words"], np.array([1]))
    assert str(error.value) == (
        "missing=drop: every training row lacks a modality; choose absent, zero, mean, token or generate"
    )
