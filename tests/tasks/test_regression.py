import numpy as np
import pytest
import torch

from mmrun.data.table import Target
from mmrun.known_metrics import METRICS
from mmrun.tasks.regression import Regression

TASK = Regression("age", ["age"], mean=np.array([5.0]), std=np.array([10.0]))
PAIR = Regression("place", ["x", "y"], mean=np.zeros(2), std=np.ones(2))


def test_figures_of_three_rows_and_a_hidden_one():
    figures = TASK.metrics(np.array([[1.0], [2.0], [6.0], [9.0]]), np.array([1.0, 2.0, 3.0, np.nan]))
    assert figures == {
        "mse": pytest.approx(3.0),
        "rmse": pytest.approx(3**0.5),
        "mae": pytest.approx(1.0),
        "r2": pytest.approx(-3.5),
    }
    assert set(figures) < set(METRICS)
    assert TASK.primary_metric in figures


def test_figures_of_two_outputs_are_means_and_each_has_its_own():
    scores = np.array([[0.0, 1.0], [2.0, 1.0]])
    target = np.array([[0.0, 3.0], [2.0, 3.0]])
    assert PAIR.metrics(scores, target) == {"mse": 2.0, "rmse": 1.0, "mae": 1.0, "r2": 1.0}  # y never varies: no R2
    assert PAIR.per_class(scores, target) == {
        "x": {"mse": 0.0, "rmse": 0.0, "mae": 0.0, "count": 2.0, "r2": 1.0},
        "y": {"mse": 4.0, "rmse": 2.0, "mae": 2.0, "count": 2.0},
    }


def test_all_hidden_gives_no_figures():
    hidden = np.array([np.nan, np.nan])
    assert TASK.metrics(np.zeros((2, 1)), hidden) == {}
    assert TASK.per_class(np.zeros((2, 1)), hidden) == {"age": {"count": 0.0}}


def test_the_model_learns_standardised_numbers_and_scores_bring_them_back():
    assert TASK.loss(torch.tensor([[2.0], [7.0]]), torch.tensor([25.0, float("nan")])).item() == 0.0
    assert TASK.loss(torch.tensor([[0.0]]), torch.tensor([25.0])).item() == 4.0
    assert torch.equal(TASK.scores(torch.tensor([[2.0]])), torch.tensor([[25.0]]))


def test_the_loss_of_hidden_rows_is_a_zero_with_a_gradient():
    output = torch.randn(2, 1, requires_grad=True)
    loss = TASK.loss(output, torch.full((2,), float("nan")))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(output.grad, torch.zeros(2, 1))


def test_mean_and_deviation_come_from_the_known_training_rows_alone():
    target = Target("regression", np.array([[0, 7], [10, 7], [np.nan, 7], [999, 999]], dtype=np.float32), ["a", "b"])
    task = Regression("t", **Regression.fit(target, np.array([0, 1, 2])))
    assert task.mean.tolist() == [5.0, 7.0]
    assert task.std.tolist() == [5.0, 1.0]  # what does not vary is only shifted


def test_absolute_and_huber_errors():
    task = Regression("age", ["age"], np.array([10.0]), np.array([2.0]))
    output, target = torch.tensor([[0.0], [0.0], [0.0]]), torch.tensor([11.0, 16.0, np.nan])  # 0.5 and 3 deviations off
    assert task.l1(output, target).item() == pytest.approx((0.5 + 3) / 2)
    assert task.huber(output, target, delta=1.0).item() == pytest.approx((0.5 * 0.25 + (3 - 0.5)) / 2)
    assert task.huber(output, target, delta=9.0).item() == pytest.approx(task.loss(output, target).item() / 2)


def test_a_target_that_is_constant_up_to_rounding_has_no_deviation():
    values = np.full(320, 0.1, dtype=np.float32)
    target = Target("regression", values, ["y"])
    task = Regression("y", **Regression.fit(target, np.arange(320)))
    assert task.std.tolist() == [1.0]
    assert "r2" not in task.per_class(np.full((320, 1), 0.2), values)["y"]
