import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mmrun.evaluation import calibration
from mmrun.tasks.classification import Classification
from mmrun.tasks.metrics import calibration_error
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression

TASK = Classification("label", ["a", "b", "c"], np.array([1, 1, 1]))


def some_scores(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, rows)
    logits = rng.standard_normal((rows, 3)) + 1.5 * np.eye(3)[target]
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32), target


def test_the_reliability_bins_hold_all_rows_and_give_the_calibration_error():
    scores, target = some_scores()
    bins = calibration.evaluate_classes(TASK, scores, target)["reliability"]
    assert sum(bins["count"]) == 400
    assert bins["upper"][-1] == 1.0
    gaps = [n * abs(a - c) for n, a, c in zip(bins["count"], bins["accuracy"], bins["confidence"], strict=True) if n]
    correct = scores.argmax(1) == target
    assert sum(gaps) / 400 == pytest.approx(calibration_error(scores.max(1), correct), abs=1e-6)


def test_rows_of_the_confusion_matrix_are_the_true_classes_and_hidden_ones_do_not_count():
    target = np.array([0, 0, 1, 2, -100])
    scores = np.eye(3, dtype=np.float32)[[0, 1, 1, 0, 2]]
    confusion = calibration.evaluate_classes(TASK, scores, target)["confusion"]
    assert confusion == {"classes": ["a", "b", "c"], "counts": [[1, 1, 0], [0, 1, 0], [1, 0, 0]]}


def test_the_curves_enclose_the_areas_that_are_reported():
    scores, target = some_scores()
    curves = calibration.evaluate_classes(TASK, scores, target)["curves"]
    assert list(curves) == ["a", "b", "c"]
    for number, curve in enumerate(curves.values()):
        area = np.trapezoid(curve["true_positive_rate"], curve["false_positive_rate"])
        assert area == pytest.approx(roc_auc_score(target == number, scores[:, number]), abs=0.003)
        average = (np.diff(curve["recall"]) * np.array(curve["precision"])[1:]).sum()
        assert average == pytest.approx(average_precision_score(target == number, scores[:, number]), abs=0.02)
        assert len(curve["precision"]) <= 101
        assert (curve["recall"][0], curve["recall"][-1]) == (0.0, 1.0)


def test_a_class_without_rows_has_no_curve():
    scores, target = some_scores()
    target[target == 2] = 1
    assert list(calibration.evaluate_classes(TASK, scores, target)["curves"]) == ["a", "b"]


def test_labels_have_reliability_and_curves_and_regression_has_neither():
    truth = np.array([[1, 0], [0, 1], [1, np.nan], [0, 1]], dtype=np.float32)
    scores = np.array([[0.9, 0.2], [0.1, 0.8], [0.7, 0.5], [0.3, 0.4]], dtype=np.float32)
    result = calibration.evaluate_classes(Multilabel("tags", ["x", "y"]), scores, truth)
    assert set(result) == {"reliability", "curves"}
    assert sum(result["reliability"]["count"]) == 7
    assert result["curves"]["x"]["true_positive_rate"][-1] == 1.0
    assert (
        calibration.evaluate_classes(Regression("age", ["age"], np.zeros(1), np.ones(1)), scores[:, :1], scores[:, 0])
        is None
    )
