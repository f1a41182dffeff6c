"""Cells: numbers are standardised, categories numbered, and what is suspicious is noted."""

import json

import numpy as np
import pytest

from mmrun.data.packed import Records
from mmrun.data.preprocess.extremes import describe_extremes
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
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
        "column 'town': the categories 'Rome' and 'rome' are nearly equal; if they are one, spell them alike",
        "column 'town': 2 of 2 other rows have a category that no training row has, the first is 'Bonn'; "
        "they are read as unknown (1 of them are empty)",
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


def fit_column(numbers, **options):
    return fitted(Cells(**options), "tabular", [{"x": number} for number in numbers])


def decode_number(cells, number):
    return cells.decode({"x": number})["numeric"][0]


@pytest.mark.parametrize(("impute", "filled"), [("mean", 1.0), ("median", 0.0), ("constant", 7.0)])
def test_missing_numbers_can_be_filled(impute, filled):
    cells = fit_column([0, 0, None, 3], impute=impute, fill_value=7.0, scale="none")
    decoded = cells.decode({"x": "NA"})
    assert decoded["numeric"].tolist() == [filled]
    assert decoded["missing"].tolist() == [False]
    named = {"mean": "the mean, 1", "median": "the median, 0", "constant": "7"}[impute]
    assert cells.notes == [f"column 'x': missing cells (1 of training rows) become {named}; not scaled"]


@pytest.mark.parametrize(
    ("scale", "number", "expected"),
    [("standard", 4, 1.0), ("robust", 4, 1.0), ("none", 4, 4.0), ("quantile", 2, 0.0), ("quantile", 99, 2.58)],
)
def test_numbers_can_be_scaled_in_other_ways(scale, number, expected):
    cells = fit_column([0, 1, 2, 3, 4] if scale != "standard" else [0, 4], scale=scale)
    assert decode_number(cells, number) == pytest.approx(expected, rel=0.2, abs=1e-6)


def test_a_robust_scale_ignores_an_outlier():
    numbers = [*range(100), 1e9]
    assert abs(decode_number(fit_column(numbers), 99) - decode_number(fit_column(numbers), 0)) < 1e-5
    assert decode_number(fit_column(numbers, scale="robust"), 99) == pytest.approx(0.98)


@pytest.mark.parametrize("options", [{"clip_quantile": 0.05}, {"clip_sigmas": 2.0}])
def test_outliers_can_be_clipped(options):
    cells = fit_column([*range(100), 10000], scale="none", **options)
    high = cells.numeric["x"].limits[1]
    assert decode_number(cells, 10000) == decode_number(cells, 1e300) == np.float32(high)
    assert high < 3000
    assert cells.notes[0].startswith("column 'x': clipped to ")


def test_skewed_columns_can_be_logged():
    rows = [{"income": 10.0**i, "age": 40 + i, "loss": -(10.0**i)} for i in range(6)]
    cells = fitted(Cells(log_skew=1.0, scale="none"), "tabular", rows)
    assert cells.decode(rows[5])["numeric"] == pytest.approx([np.log1p(1e5), 45, -np.log1p(1e5)])
    assert cells.notes[0] == "column 'income': logged; not scaled"
    assert cells.notes[1] == "column 'age': not scaled"


def test_categories_can_be_one_number_each():
    cells = fitted(Cells(encode="one_hot"), "tabular", [{"n": 1, "town": "Rome"}, {"n": 3, "town": "Oslo"}])
    assert cells.metadata == {"num_numeric": 3, "cardinalities": []}
    assert cells.decode({"n": 3, "town": "Rome"})["numeric"].tolist() == [1.0, 0.0, 1.0]
    assert cells.decode({"n": 3, "town": "Bonn"})["numeric"].tolist() == [1.0, 0.0, 0.0]
    assert cells.decode({"n": 3, "town": "Bonn"})["categorical"].tolist() == []
    assert cells.notes == ["column 'town': categories become a number each, 0 or 1"]


def test_categories_can_be_their_frequency():
    cells = fitted(Cells(encode="frequency"), "tabular", [{"town": town} for town in ("Rome", "Rome", "Rome", "Oslo")])
    decoded = [cells.decode({"town": town})["numeric"][0] for town in ("Rome", "Oslo", "Bonn")]
    assert decoded == pytest.approx([0.577, -1.732, -2.887], abs=1e-3)


def test_rare_categories_can_be_merged():
    towns = ["Rome", "Rome", "Oslo", "Bonn"]
    cells = fitted(Cells(min_frequency=2), "tabular", [{"town": town} for town in towns])
    assert cells.metadata["cardinalities"] == [3]
    assert [cells.decode({"town": town})["categorical"][0] for town in (*towns[1:], "Kyiv")] == [1, 2, 2, 0]
    assert cells.notes == [
        "column 'town': 2 of 3 categories have fewer than 2 training rows, and are merged, such as 'Bonn'"
    ]


def test_one_hot_numbers_are_limited():
    with pytest.raises(ConfigError) as error:
        fitted(Cells(encode="one_hot"), "tabular", [{"name": f"n{i}"} for i in range(1001)])
    assert str(error.value) == (
        "preprocess.encode: one_hot would make 1,001 numbers of a row, more than 1,000, most of them of 'name'; "
        "set encode=frequency, or raise min_frequency"
    )


def test_only_one_way_to_clip_can_be_set():
    with pytest.raises(ConfigError) as error:
        Cells(clip_quantile=0.1, clip_sigmas=3.0)
    assert str(error.value) == (
        "preprocess.clip_quantile: cannot be combined with clip_sigmas; set one of them to null"
    )


def test_transforms_are_fitted_on_training_rows_only():
    rows = [{"x": number} for number in (0, 1, 2, None, 1e6)]
    cells = Cells(impute="median", log_skew=0.5, clip_quantile=0.1, scale="robust")
    cells.fit(Column("tabular", rows), np.arange(4))
    without = fitted(Cells(impute="median", log_skew=0.5, clip_quantile=0.1, scale="robust"), "tabular", rows[:4])
    assert cells.state() == without.state()


def test_cells_are_shown_in_their_units_again():
    rows = [{"x": 10.0**i, "town": "Rome"} for i in range(6)]
    cells = fitted(Cells(log_skew=1.0, scale="quantile"), "tabular", rows)
    parts = {name: part.tolist() for name, part in cells.decode(rows[3]).items()}
    assert cells.format_row(**parts) == ["x: 1000", "town: Rome"]


ON = [
    {"impute": "median", "scale": "robust", "encode": "one_hot"},
    {"impute": "constant", "fill_value": 5.0, "scale": "quantile", "encode": "frequency"},
    {"log_skew": 0.1, "clip_quantile": 0.1, "min_frequency": 2},
    {"clip_sigmas": 1.0, "scale": "none"},
]


@pytest.mark.parametrize("options", ON)
def test_many_rows_are_decoded_to_the_same_bits_as_one(options):
    rows = [{"x": None if i % 7 == 0 else i**3, "town": "abc"[i % 3] if i else "rare"} for i in range(40)]
    rows[5] = None
    cells = fitted(Cells(**options), "tabular", rows)
    together = cells.decode_rows(Records.from_rows(rows))
    restored = Cells()
    restored.restore(json.loads(json.dumps(cells.state())))
    for row in (0, 1, 6, 39):
        for name, part in restored.decode(rows[row]).items():
            assert together[name].dtype == part.dtype
            assert (together[name][row] == part).all(), name
    assert not any(part[5].any() for part in together.values())
