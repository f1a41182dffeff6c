"""Means and deviations of columns and channels, where rounding would spoil them."""

import numpy as np

from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.table import Column
from tests.data.preprocess.fitted import fitted


def test_a_constant_column_does_not_explode_at_test_time():
    rows = [{"x": 0.1}] * 320 + [{"x": 0.2}]
    cells = Cells()
    cells.fit(Column("tabular", rows), np.arange(320))
    assert cells.decode(rows[-1])["numeric"].tolist() == [0.0]
    series = [np.full((1, 5), 0.1)] * 320 + [np.full((1, 5), 0.2)]
    steps = Steps(5)
    steps.fit(Column("series", series), np.arange(320))
    assert steps.decode(series[-1])["values"].tolist() == [[0.0] * 5]


def test_a_small_deviation_from_a_large_mean_is_kept():
    seconds = 1_700_000_000.0 + np.arange(0.0, 3600.0, 60.0)  # an hour of timestamps
    cells = fitted(Cells(), "tabular", [{"time": second} for second in seconds.tolist()])
    np.testing.assert_allclose(cells.decode({"time": seconds[-1]})["numeric"], [1.7034], atol=1e-3)
    steps = fitted(Steps(60), "series", [seconds])
    np.testing.assert_allclose(steps.decode(seconds)["values"].std(), 1, atol=1e-3)
