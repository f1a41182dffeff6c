"""Predicted over true values and residuals: the numbers that are drawn."""

import numpy as np

from mmrun.results.run_plots.regression import plot_regression
from tests.results.run_plots.drawing import draw

METRICS = {"r2": 0.75, "mae": 0.5, "rmse": 0.6, "mse": 0.36}


def test_points_and_residuals():
    true, predicted = np.array([[1.0], [2.0], [4.0]]), np.array([[1.5], [2.0], [3.0]])
    (scatter, residuals), notes = plot_regression("price (test)", {"price": METRICS}, predicted, true)
    axes = draw(scatter)
    assert axes.collections[0].get_offsets().tolist() == [[1, 1.5], [2, 2], [4, 3]]
    assert axes.get_lines()[0].get_xydata().tolist() == [[1, 1], [4, 4]]  # where both are equal
    assert draw(residuals).collections[0].get_offsets().tolist() == [[1.5, 0.5], [2, 0], [3, -1]]
    assert notes == []
    assert scatter.caption == (
        "price (test): predicted over true values, equal on the dotted line, R² 0.7500, MAE 0.5000, RMSE 0.6000; 3 rows"
    )
    assert residuals.caption == "price (test): residuals over predicted values, mean -0.1667"


def test_unknown_targets_are_left_out_and_predictions_that_are_not_finite_are_told():
    true, predicted = np.array([[1.0], [np.nan], [4.0]]), np.array([[1.5], [2.0], [np.inf]])
    (scatter, _), notes = plot_regression("price (test)", {"price": {}}, predicted, true)
    assert draw(scatter).collections[0].get_offsets().tolist() == [[1, 1.5]]
    assert notes == ["price (test): 1 row without a finite prediction left out"]


def test_without_targets_there_is_a_note():
    plots, notes = plot_regression("price (test)", {"price": {}}, np.ones((2, 1)), np.full((2, 1), np.nan))
    assert plots == []
    assert notes == ["price (test): no plots, no row has both a target and a finite prediction"]


def test_of_many_rows_and_outputs_the_first_are_drawn():
    values = np.arange(5000.0)[:, None] * np.ones(8)
    plots, notes = plot_regression("x (val)", {f"out{number}": METRICS for number in range(8)}, values, values)
    assert [plot.name for plot in plots[:3]] == ["predicted-out0", "residuals-out0", "predicted-out1"]
    assert len(plots) == 12
    assert notes == ["x (val): the first 6 of 8 outputs are plotted"]
    points = draw(plots[0]).collections[0].get_offsets()
    assert (len(points), points[0].tolist(), points[-1].tolist()) == (2000, [0, 0], [4999, 4999])
    assert plots[0].caption.endswith("; 2,000 of 5,000 rows drawn")
