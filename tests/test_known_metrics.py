"""Metrics by name: direction and bounds."""

from math import inf

import pytest

from mmrun.known_metrics import find_bounds, is_higher_better, strip_metric


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("accuracy", True), ("mae", False), ("pinball_loss", False), ("own_score", True), ("badness", None)],
)
def test_the_direction_of_a_metric_of_another_package_goes_by_its_suffix(metric, direction):
    assert is_higher_better(metric) is direction


def test_a_metric_has_neither_task_nor_head():
    assert [strip_metric(name) for name in ("mse", "pet.mse", "pet.mse/image")] == ["mse", "mse", "mse"]


@pytest.mark.parametrize(
    ("metric", "values", "bounds"),
    [
        ("label.accuracy/image", [0.0, 1.0], (0.0, 1.0)),
        ("accuracy", [87.5, 91.0], (-inf, inf)),  # in percent: a user's own
        ("quadratic_kappa", [-0.5], (-1.0, 1.0)),
        ("rmse", [3.0], (0.0, inf)),
        ("own_score", [0.5], (-inf, inf)),
    ],
)
def test_the_bounds_of_a_metric(metric, values, bounds):
    assert find_bounds(metric, values) == bounds
