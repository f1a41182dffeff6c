"""Cells: numbers are standardised, categories numbered, and what is suspicious is noted."""

import numpy as np
import pytest

from mmrun.data.preprocess.tabular import Cells, describe_extremes
from mmrun.data.table import Column
from mmrun.errors import DataError
from tests.data.preprocess.fitted import fitted


def test_cells_are_standardised_by_training_rows():
    rows = [
        {"age": "20", "town": "Rome", "same": 7},
        {"age": "40", "town": "Oslo", "same": 7},
        {"age": "NA", "town": None, "same": 7},
        {"age": 1000, "town": "Bonn", "same": 8},
    ]
    cells = Cells()
    cells.fit(Column("tabular", rows), np.array([0, 1, 2]))
    assert cells.metadata == {"num_numeric": 2, "cardinalities": [4]}  # Oslo, Rome, missing, unknown
    first, gap, unseen = cells.decode(rows[0]), cells.decode(rows[2]), cells.decode(rows[3])
    assert first["numeric"].tolist() == [-1.0, 0.0]
    assert first["categorical"].tolist() == [3]
    assert gap["numeric"].tolist() == [0.0, 0.0]
    assert gap["missing"].tolist() == [True, False]
    assert gap["categorical"].tolist() == [1]
    assert unseen["numeric"].tolist() == [97.0, 0.0]  # a column that is constant in training says nothing
    assert unseen["categorical"].tolist() == [0]


def test_a_number_that_float32_cannot_hold():
    cells = fitted(Cells(), "tabular", [{"age": "20"}, {"age": "30"}])
    with pytest.raises(DataError) as error:
        cells.decode({"age": "1e300"})
    assert str(error.value) == (
        "'age' is 1e+300, but 25 on average in the training rows; correct it, or empty the cell"
    )


def test_suspicious_cells_are_noted():
    ages = [20, 30, 40, 50, 60] * 20
    rows = [{"age": str(age), "town": "Rome" if age < 40 else "rome "} for age in ages]
    rows[7]["age"] = "9999999"
    rows += [{"age": "inf", "town": "Bonn"}, {"age": "-999", "town": None}]
    cells = Cells()
    cells.fit(Column("tabular", rows), np.arange(100))
    assert cells.notes == [
        "column 'age': 1 of 100 numbers of training rows, such as 9999999, are far from most (20 to 60); "
        "if they mark missing values, empty those cells",
        "column 'age': 1 of 1 numbers of other rows, such as -999, are far from most (20 to 60); "
        "if they mark missing values, empty those cells",
        "column 'age': 1 cells are infinite, and read as missing",
        "column 'town': 2 of 2 other rows have a category that no training row has, the first is 'Bonn'; "
        "they are read as unknown (1 of them are empty)",
        "column 'town': the categories 'Rome' and 'rome' are nearly equal; if they are one, spell them alike",
    ]


def test_new_rows_with_unknown_categories_are_noted():
    cells = fitted(Cells(), "tabular", [{"town": "Rome"}, {"town": "Oslo"}])
    new = Column("tabular", [{"town": "Rome "}, {"town": "Bonn"}])
    assert cells.notes == []
    assert cells.describe_new(new) == [
        "column 'town': 1 of 2 rows have a category that no training row has, the first is 'Bonn'; "
        "they are read as unknown"
    ]


@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_t", "poisson"])
def test_usual_numbers_are_not_extreme(draw):
    rng = np.random.default_rng(0)
    numbers = {
        "normal": rng.normal(50, 10, 2000),
        "exponential": rng.exponential(1.0, 2000),
        "standard_t": rng.standard_t(4, 2000),
        "poisson": rng.poisson(0.05, 2000).astype(float),
    }[draw]
    assert describe_extremes("x", numbers[:1500], numbers[1500:]) == []


def test_codes_can_be_categories():
    rows = [{"zip": 10115}, {"zip": 20095}]
    cells = fitted(Cells(categorical=["zip"]), "tabular", rows)
    assert cells.metadata == {"num_numeric": 0, "cardinalities": [3]}
    assert cells.decode(rows[1])["categorical"].tolist() == [2]


@pytest.mark.parametrize("cell", ["old", ["a", "list"]])
def test_a_word_among_numbers(cell):
    cells = fitted(Cells(), "tabular", [{"age": "20"}, {"age": "30"}])
    with pytest.raises(DataError) as error:
        cells.decode({"age": cell})
    assert str(error.value) == f"'age' is {cell!r}, but it is a number in all training rows"
