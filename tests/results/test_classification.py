import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from mmrun.results import classification


def some_rows(rows=300, seed=0):
    """Scores with ties, of which the higher are more often true."""
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 40, rows) / 40
    return rng.random(rows) < score, score


def test_a_bin_without_rows_has_no_mean():
    summary = classification.reliability_diagram(np.array([0.95, 0.99]), np.array([True, False]))
    assert summary["count"] == [0] * 14 + [2]
    assert summary["confidence"] == [None] * 14 + [pytest.approx(0.97)]
    assert summary["accuracy"] == [None] * 14 + [0.5]


def test_of_many_classes_the_most_frequent_are_shown():
    target = np.concatenate([np.arange(60), np.arange(10, 60)])
    summary = classification.summarize_confusion([f"c{i}" for i in range(60)], target, target)
    assert summary["classes"] == [f"c{i}" for i in range(10, 60)]
    assert summary["counts"] == (2 * np.eye(50, dtype=int)).tolist()


def test_a_curve_by_hand():
    """Scores 0.9 (true), 0.8 (false), 0.8 (true), 0.1 (false): the middle two come together."""
    curve = classification.compute_curve(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.8, 0.1]))
    assert curve.false_positive_rate.tolist() == [0, 0, 0.5, 1]
    assert curve.recall.tolist() == [0, 0.5, 1, 1]
    assert curve.precision.tolist() == [1, 1, 2 / 3, 0.5]
    assert (curve.auroc, curve.average_precision) == (0.875, pytest.approx(0.5 + 0.5 * 2 / 3))


def test_curves_are_those_of_scikit_learn():
    true, score = some_rows()
    curve = classification.compute_curve(true, score)
    precision, recall, _ = precision_recall_curve(true, score)
    assert curve.precision == pytest.approx(precision[::-1])
    assert curve.recall == pytest.approx(recall[::-1])
    assert curve.auroc == pytest.approx(roc_auc_score(true, score))
    assert curve.average_precision == pytest.approx(average_precision_score(true, score))


def test_points_on_a_straight_line_are_left_out():
    true = np.array([True] * 300 + [False] * 300)
    summary = classification.thin_curve(classification.compute_curve(true, np.linspace(1, 0, 600)))
    assert (summary["false_positive_rate"], summary["true_positive_rate"]) == ([0, 0, 1], [0, 1, 1])
    assert len(summary["precision"]) == 101


def test_reports_and_comparisons_load_no_torch():
    """The slow libraries stay out of what answers from JSON and Parquet alone."""
    imports = "import sys, mmrun.results.report.content, mmrun.results.examples, mmrun.cli.report, mmrun.cli.compare"
    check = "print([name for name in ('torch', 'sklearn', 'hydra', 'transformers') if name in sys.modules])"
    completed = subprocess.run(
        [sys.executable, "-c", f"{imports}; {check}"], capture_output=True, text=True, check=True
    )
    assert completed.stdout == "[]\n"


def test_the_most_confused_classes_are_selected():
    counts = np.diag([9, 9, 9, 9, 9])
    counts[3, 1], counts[1, 3], counts[0, 4] = 5, 2, 1
    assert classification.select_most_confused(counts, 5).tolist() == [0, 1, 2, 3, 4]
    assert classification.select_most_confused(counts, 4).tolist() == [0, 1, 3, 4]
    assert classification.select_most_confused(counts, 2).tolist() == [1, 3]
    assert classification.select_most_confused(np.diag([1, 3, 2]), 2).tolist() == [1, 2]  # no errors: the most frequent
