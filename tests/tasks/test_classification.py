import time

import numpy as np
import pytest
import torch

from mmrun.known_metrics import METRICS
from mmrun.tasks.classification import Classification

TASK = Classification("label", ["a", "b", "c"], counts=np.array([3, 1, 0]))
TARGET = np.array([0, 0, 1, 1, 2, -100])
SCORES = np.array(
    [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.5, 0.4], [0.6, 0.1, 0.3], [1, 0, 0]], dtype=np.float32
)


def test_figures_of_five_rows_and_a_hidden_one():
    assert TASK.metrics(SCORES, TARGET) == {
        "accuracy": pytest.approx(3 / 5),
        "balanced_accuracy": pytest.approx((1 / 2 + 1 + 0) / 3),
        "f1_macro": pytest.approx((0.5 + 0.8 + 0) / 3),
        "f1_weighted": pytest.approx((2 * 0.5 + 2 * 0.8 + 0) / 5),
        "precision_macro": pytest.approx((1 / 2 + 2 / 3 + 0) / 3),
        "recall_macro": pytest.approx(0.5),
        "auroc": pytest.approx((5 / 6 + 5 / 6 + 3 / 4) / 3),
        "average_precision": pytest.approx((5 / 6 + 5 / 6 + 1 / 2) / 3),
        "calibration_error": pytest.approx((0.2 + 2 * 0.6 + 0.3 + 0.5) / 5),
        "nll": pytest.approx(0.736182),
    }


def test_per_class_figures():
    assert TASK.per_class(SCORES, TARGET) == {
        "a": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "count": 2.0},
        "b": {"precision": pytest.approx(2 / 3), "recall": 1.0, "f1": 0.8, "count": 2.0},
        "c": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 1.0},
    }


def test_a_class_that_is_nowhere_counts_in_no_mean():
    figures = TASK.metrics(SCORES[[0, 2]], TARGET[[0, 2]])  # a and b, both right; no c
    assert figures["f1_macro"] == figures["recall_macro"] == figures["balanced_accuracy"] == figures["auroc"] == 1.0


def test_one_class_alone_defines_no_ranking_and_nothing_else_changes():
    figures = TASK.metrics(SCORES[:2], TARGET[:2])
    assert set(TASK.metrics(SCORES, TARGET)) - set(figures) == {"auroc", "average_precision"}
    assert figures["accuracy"] == 0.5


def test_a_split_without_any_visible_row_has_no_figures():
    assert TASK.metrics(SCORES[5:], TARGET[5:]) == {}


def test_an_impossible_class_that_came_true_costs_much_but_not_infinity():
    assert TASK.metrics(np.array([[1.0, 0.0, 0.0]], dtype=np.float32), np.array([1]))["nll"] == pytest.approx(
        87.3, abs=0.1
    )


def test_figures_have_a_direction_and_a_headline():
    figures = TASK.metrics(SCORES, TARGET)
    assert set(figures) < set(METRICS)
    assert TASK.primary_metric in figures


def test_figures_agree_with_scikit_learn_and_are_quick():
    from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

    rng = np.random.default_rng(0)
    target, logits = rng.integers(0, 10, 10_000), rng.normal(size=(10_000, 10))
    logits[np.arange(10_000), target] += 1
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    task = Classification("label", list("abcdefghij"), np.ones(10))
    began = time.perf_counter()
    figures = task.metrics(scores, target)
    assert time.perf_counter() - began < 2.0  # 0.04 s on an idle machine
    predicted = scores.argmax(1)
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(target, predicted))
    assert figures["f1_macro"] == pytest.approx(f1_score(target, predicted, average="macro"))
    assert figures["f1_weighted"] == pytest.approx(f1_score(target, predicted, average="weighted"))
    assert figures["precision_macro"] == pytest.approx(precision_score(target, predicted, average="macro"))
    assert figures["recall_macro"] == pytest.approx(recall_score(target, predicted, average="macro"))
    assert figures["auroc"] == pytest.approx(roc_auc_score(target, scores, multi_class="ovr"))


def test_the_loss_is_a_mean_over_visible_rows():
    target = torch.tensor([0, -100, 2])
    assert TASK.loss(torch.zeros(3, 3), target).item() == pytest.approx(np.log(3))


def test_the_loss_of_hidden_rows_is_a_zero_with_a_gradient():
    output = torch.randn(2, 3, requires_grad=True)
    loss = TASK.loss(output, torch.tensor([-100, -100]), label_smoothing=0.1)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(output.grad, torch.zeros(2, 3))


def test_label_smoothing_asks_for_a_little_of_every_class():
    output = torch.tensor([[2.0, 0.0, 0.0]])
    log_sum = np.log(np.e**2 + 2)
    expected = 0.7 * (log_sum - 2) + 0.1 * (3 * log_sum - 2)  # 0.3 spread over three classes
    assert TASK.loss(output, torch.tensor([0]), label_smoothing=0.3).item() == pytest.approx(expected)


def test_balanced_weighs_classes_by_the_inverse_of_their_training_rows():
    logits, target = torch.zeros(2, 3), torch.tensor([0, 1])
    assert torch.allclose(TASK.class_weights, torch.tensor([2 / 3, 2.0, 0.0]))
    assert TASK.loss(logits, target, class_balanced=True).item() == pytest.approx(np.log(3) * (2 / 3 + 2) / 2)


def test_scores_are_probabilities_in_fp32():
    scores = TASK.scores(torch.zeros(1, 3, dtype=torch.bfloat16))
    assert scores.dtype is torch.float32
    assert torch.allclose(scores, torch.full((1, 3), 1 / 3))


def test_focal_loss_is_cross_entropy_times_the_share_that_is_wrong():
    task = Classification("pet", ["a", "b", "c"], np.array([1, 2, 3]))
    output, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, -100, 1])
    assert task.focal(output, target, gamma=0.0).item() == pytest.approx(task.loss(output, target).item(), rel=1e-6)
    p = output.softmax(1)[target != -100].gather(1, target[target != -100, None])
    assert task.focal(output, target, gamma=2.0).item() == pytest.approx((-((1 - p) ** 2) * p.log()).mean().item())
    sure = torch.tensor([[30.0, 0, 0]], requires_grad=True)
    task.focal(sure, torch.tensor([0]), gamma=0.5).backward()
    assert sure.grad.isfinite().all()


def test_the_hinge_is_how_far_the_true_class_is_from_leading_by_one():
    task = Classification("pet", ["a", "b", "c"], np.array([1, 2, 3]))
    output = torch.tensor([[2.0, 0.5, 0.0], [2.0, 1.5, 0.0], [0.0, 3.0, 1.0], [9.0, 0.0, 0.0]])
    target = torch.tensor([0, 0, 2, -100])
    assert task.hinge(output, target).item() == pytest.approx((0.0 + 0.5 + 3.0) / 3)
    weights = task.class_weights[target[:3]]
    expected = (weights * torch.tensor([0.0, 0.5, 3.0])).mean().item()
    assert task.hinge(output, target, class_balanced=True).item() == pytest.approx(expected)


def test_class_balanced_weighs_a_row_with_its_smoothed_share_by_the_class_of_its_target():
    task = Classification("label", ["common", "rare"], np.array([3, 1]))  # weights 2/3 and 2
    output, target = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), torch.tensor([0, 1, -100])
    p = output.softmax(1)
    smoothed = -(torch.tensor([[0.95, 0.05], [0.05, 0.95], [0, 0]]) * p.log()).sum(1)
    expected = (2 / 3 * smoothed[0] + 2 * smoothed[1]) / 2
    loss = task.loss(output, target, label_smoothing=0.1, class_balanced=True)
    assert loss.item() == pytest.approx(expected.item())


def test_class_balanced_and_label_smoothing_separate_a_rare_class():
    target = (torch.arange(1000) >= 990).long()  # 990 : 10
    x = 2.0 * target.unsqueeze(1) - 1
    task = Classification("label", ["common", "rare"], np.array([990, 10]))
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        task.loss(model(x), target, label_smoothing=0.1, class_balanced=True).backward()
        optimizer.step()
    assert (model(x).argmax(1) == target).float().mean().item() == 1.0  # 0.01 where torch weighs each class's share
