"""Curves, confusion and calibration of one run: the numbers that are drawn."""

import numpy as np
import pytest
from sklearn import metrics

from mmrun.results.run_plots.classes import ClassPredictions, plot_classes
from tests.results.run_plots.drawing import draw, list_legend


def predict(num_rows=200, num_classes=2, seed=0):
    """Return scores with ties, and classes that they fit more or less."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, num_classes, num_rows)
    logits = rng.normal(size=(num_rows, num_classes)) + 1.5 * np.eye(num_classes)[target]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return scores.round(1), target


def plot(names, scores, target):
    plots, notes = plot_classes("label (test)", ClassPredictions.of_classes(names, np.array(scores), np.array(target)))
    return {plot.name: plot for plot in plots}, notes


def test_the_curves_of_two_classes_are_those_of_scikit_learn():
    scores, target = predict()
    plots, notes = plot(["healthy", "ill"], scores, target)
    assert list(plots) == ["roc", "precision-recall", "confusion", "reliability"]
    assert notes == []
    chance, roc = draw(plots["roc"]).get_lines()
    false_positive_rate, true_positive_rate, _ = metrics.roc_curve(target, scores[:, 1], drop_intermediate=False)
    assert chance.get_xydata().tolist() == [[0, 0], [1, 1]]
    np.testing.assert_allclose(roc.get_xydata(), np.stack([false_positive_rate, true_positive_rate], 1))
    (curve,) = draw(plots["precision-recall"]).get_lines()
    precision, recall, _ = metrics.precision_recall_curve(target, scores[:, 1])
    np.testing.assert_allclose(curve.get_xydata(), np.stack([recall, precision], 1)[::-1])
    assert curve.get_drawstyle() == "steps-pre"
    assert list_legend(draw(plots["roc"])) == [f"ill ({metrics.roc_auc_score(target, scores[:, 1]):.3f})"]
    average_precision = metrics.average_precision_score(target, scores[:, 1])
    assert list_legend(draw(plots["precision-recall"])) == [f"ill ({average_precision:.3f})"]
    assert plots["roc"].caption == "label (test): ROC, ill against healthy; chance is the dotted diagonal"


def test_several_classes_have_a_curve_each_and_their_mean():
    scores, target = predict(num_classes=3)
    plots, _ = plot(["a", "b", "c"], scores, target)
    areas = [metrics.roc_auc_score(target == c, scores[:, c]) for c in range(3)]
    expected = [f"{name} ({area:.3f})" for name, area in zip("abc", areas, strict=True)]
    assert list_legend(draw(plots["roc"])) == [*expected, f"mean ({np.mean(areas):.3f})"]


def test_of_many_classes_the_most_frequent_are_drawn():
    scores, target = predict(num_rows=900, num_classes=60)
    frequent = np.sort(np.argsort(-np.bincount(target, minlength=60), kind="stable")[:10])
    plots, _ = plot([f"class {number}" for number in range(60)], scores, target)
    legend = list_legend(draw(plots["roc"]))
    assert [entry.rpartition(" ")[0] for entry in legend] == [*(f"class {number}" for number in frequent), "mean"]
    assert plots["roc"].caption == (
        "label (test): ROC, 10 of 60 classes, each against the rest; the thick line is the mean of 50; chance is the "
        "dotted diagonal"
    )
    assert plots["confusion"].caption.endswith("the 20 most confused of 60 classes, 900 rows")


def test_a_class_without_rows_has_no_curve():
    scores, target = predict(num_classes=3)
    plots, notes = plot(["a", "b", "c"], scores, np.where(target == 2, 1, target))
    assert [entry[0] for entry in list_legend(draw(plots["roc"]))] == ["a", "b", "m"]
    assert notes == ["label (test): 1 of 3 classes without a curve, for lack of positive or negative rows"]


def test_the_confusion_matrix_shows_percentages_of_the_true_class():
    plots, _ = plot(["cat", "dog"], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9], [0.6, 0.4]], [0, 0, 1, 1, 1])
    axes = draw(plots["confusion"])
    assert axes.collections[0].get_array().tolist() == [[1, 0], [pytest.approx(2 / 3), pytest.approx(1 / 3)]]
    assert [text.get_text() for text in axes.texts] == ["100", "", "67", "33"]
    assert plots["confusion"].alt == (
        "Confusion matrix of label (test); the most frequent error is dog predicted as cat: 67%."
    )


def test_the_reliability_diagram_shows_the_mean_of_each_bin():
    plots, _ = plot(["cat", "dog"], [[0.95, 0.05], [0.95, 0.05], [0.45, 0.55], [0.45, 0.55]], [0, 1, 1, 1])
    axes = draw(plots["reliability"])
    np.testing.assert_allclose(axes.get_lines()[1].get_xydata(), [[0.55, 1], [0.95, 0.5]])
    assert [bar.get_height() for bar in axes.patches if bar.get_height()] == [0.5, 0.5]
    assert list_legend(axes) == ["expected calibration error 0.450"]


def test_one_row_has_no_curves():
    plots, notes = plot(["cat", "dog"], [[0.9, 0.1]], [1])
    assert list(plots) == ["confusion", "reliability"]
    assert notes == ["label (test): no ROC and precision-recall curves; they need positive and negative rows"]


def test_hidden_targets_and_scores_that_are_not_finite_are_left_out():
    scores = [[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan], [0.9, 0.1]]
    plots, notes = plot(["cat", "dog"], scores, [0, 1, 0, -100])
    assert plots["confusion"].caption == "label (test): confusion, % of each true class, 2 rows"
    assert notes == ["label (test): 1 prediction left out, not finite"]


def test_a_split_without_targets_has_no_plots():
    plots, notes = plot(["cat", "dog"], [[0.9, 0.1]], [-100])
    assert plots == {}
    assert notes == ["label (test): no plots, no row has both a target and finite scores"]


def test_labels_have_a_curve_each_and_no_confusion():
    target = np.array([[1, 0], [0, 1], [1, np.nan], [0, 1], [1, 0]])
    scores = np.array([[0.9, 0.2], [0.1, 0.8], [0.7, 0.5], [0.3, 0.4], [0.6, 0.1]])
    plots, _ = plot_classes("tags (test)", ClassPredictions.of_labels(["x", "y"], scores, target))
    assert [plot.name for plot in plots] == ["roc", "precision-recall", "reliability"]
    assert list_legend(draw(plots[0])) == ["x (1.000)", "y (1.000)", "mean (1.000)"]
    shares = [bar.get_height() for bar in draw(plots[2]).patches]
    np.testing.assert_allclose(np.array(shares) * 9, [0, 2, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0], atol=1e-9)
