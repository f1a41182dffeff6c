import numpy as np
import pytest
import torch

from mmrun.known_metrics import METRICS
from mmrun.tasks.multilabel import Multilabel

TASK = Multilabel("tags", ["x", "y"])
TARGET = np.array([[1, 0], [1, 1], [0, 1], [np.nan, 0]], dtype=np.float32)
SCORES = np.array([[0.9, 0.2], [0.4, 0.8], [0.6, 0.3], [0.9, 0.1]], dtype=np.float32)


def test_figures_of_four_rows_with_one_label_hidden():
    figures = TASK.metrics(SCORES, TARGET)
    assert figures == {
        "f1_micro": pytest.approx(4 / 7),
        "f1_macro": pytest.approx((1 / 2 + 2 / 3) / 2),
        "auroc": pytest.approx((1 / 2 + 1) / 2),
        "average_precision": pytest.approx((5 / 6 + 1) / 2),
        "exact_match": pytest.approx(1 / 3),
        "calibration_error": pytest.approx((0.1 + 0.2 + 0.6 + 0.2 + 0.6 + 0.7 + 0.1) / 7),
    }
    assert set(figures) < set(METRICS)
    assert TASK.primary_metric in figures


def test_per_label_figures():
    assert TASK.per_class(SCORES, TARGET) == {
        "x": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "count": 2.0},
        "y": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "count": 2.0},
    }


def test_a_label_that_no_row_has_defines_no_ranking():
    figures = TASK.metrics(SCORES[:, :2], np.zeros((4, 2), dtype=np.float32))
    assert set(figures) == {"f1_micro", "f1_macro", "exact_match", "calibration_error"}


def test_all_hidden_gives_no_figures():
    assert TASK.metrics(SCORES, np.full((4, 2), np.nan, dtype=np.float32)) == {}


def test_labels_never_true_and_never_predicted_count_in_no_mean():
    assert TASK.metrics(np.zeros((2, 2)), np.zeros((2, 2)))["f1_macro"] == 0.0
    assert TASK.metrics(np.array([[0.9, 0.1]]), np.array([[1.0, 0.0]]))["f1_macro"] == 1.0


def test_the_loss_is_a_mean_over_visible_labels():
    target = torch.tensor([[1.0, float("nan")], [float("nan"), 0.0]])
    assert TASK.loss(torch.zeros(2, 2), target).item() == pytest.approx(np.log(2))


def test_the_loss_of_hidden_labels_is_a_zero_with_a_gradient():
    output = torch.randn(1, 2, requires_grad=True)
    loss = TASK.loss(output, torch.full((1, 2), float("nan")))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(output.grad, torch.zeros(1, 2))


def test_scores_are_probabilities():
    assert torch.equal(TASK.scores(torch.zeros(1, 2)), torch.full((1, 2), 0.5))
