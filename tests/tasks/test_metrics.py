"""Metrics that several kinds of tasks share, on a few rows by hand."""

import numpy as np
import pytest

from mmrun.tasks.metrics import ClassCounts, calibration_error, ranking_metrics


def test_counts_by_class():
    counts = ClassCounts(both=np.array([1, 0, 0]), true=np.array([2, 0, 0]), predicted=np.array([4, 1, 0]))
    assert counts.precision.tolist() == [0.25, 0.0, 0.0]
    assert counts.recall.tolist() == [0.5, 0.0, 0.0]
    assert counts.f1.tolist() == [1 / 3, 0.0, 0.0]
    assert counts.used.tolist() == [True, True, False]
    assert counts.per_class(["a", "b", "c"])["a"] == {"precision": 0.25, "recall": 0.5, "f1": 1 / 3, "count": 2.0}


def test_ranking_leaves_out_columns_with_one_truth_and_hidden_rows():
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.8, 0.7], [0.1, 0.9]])
    truth = np.array([[True, False], [False, False], [False, False], [True, True]])
    visible = np.array([[True, True], [True, True], [True, True], [False, False]])
    assert ranking_metrics(scores, truth, visible) == {"auroc": 1.0, "average_precision": 1.0}  # of the first alone
    assert ranking_metrics(scores, truth, np.zeros_like(visible)) == {}


@pytest.mark.parametrize("decimals", [1, 9], ids=["many equal scores", "few"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranking_has_the_bits_of_scikit_learn(dtype, decimals):
    from sklearn.metrics import average_precision_score, roc_auc_score

    draw = np.random.default_rng(0)
    for num_rows in (2, 3, 40, 1000):
        scores = draw.random(num_rows).round(decimals).astype(dtype)
        truth = np.append(draw.random(num_rows - 2) < 0.3, [True, False])
        metrics = ranking_metrics(scores[:, None], truth[:, None], np.ones((num_rows, 1), dtype=bool))
        assert metrics == {
            "auroc": roc_auc_score(truth, scores),
            "average_precision": average_precision_score(truth, scores),
        }


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])
    assert calibration_error(confidence, correct) == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)
