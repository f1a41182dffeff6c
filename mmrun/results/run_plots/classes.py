"""What one run predicted for a task with classes or labels: curves, confusion matrix, reliability diagram."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from mmrun.results import classification
from mmrun.results.classification import GRID, ConfidenceBins, Curve, OneVsRestCurves
from mmrun.results.formatting import pluralize
from mmrun.results.report.charts import shorten_name
from mmrun.results.report.confusion import plot_confusion
from mmrun.results.report.plots import Plot
from mmrun.results.report.style import LINE_STYLES, PALETTE, PlotKwargs, draw_legend
from mmrun.results.run_plots.drawn import Drawn

MAX_CURVES = 10  # of single classes in a plot


@dataclass(frozen=True)
class ClassPredictions:
    """What was predicted for the rows whose target is known and whose scores are finite.

    Attributes:
        names: of the C classes or labels.
        scores: probabilities [N, C].
        positive: whether a row is of a class, or has a label [N, C] bool.
        visible: whether that is known [N, C] bool.
        confusion: [C, C]; a row is a true class, a column a predicted one. None: labels have none.
        confidence: of each prediction [P]: of the most probable class, or of every visible label.
        correct: whether it is right [P] bool.
        num_dropped: rows, or labels, whose target is known and whose scores are not finite.
    """

    names: list[str]
    scores: np.ndarray
    positive: np.ndarray
    visible: np.ndarray
    confusion: np.ndarray | None
    confidence: np.ndarray
    correct: np.ndarray
    num_dropped: int

    @classmethod
    def of_classes(cls, names: list[str], scores: np.ndarray, target: np.ndarray) -> "ClassPredictions":
        """Select the rows of a task with one class per row.

        Args:
            names: of the C classes.
            scores: probabilities [N, C].
            target: classes [N]; hidden ones are negative.
        """
        is_known = target >= 0
        is_used = is_known & np.isfinite(scores).all(1)
        num_dropped = int((is_known & ~is_used).sum())
        scores, target = scores[is_used], target[is_used]
        predicted = scores.argmax(1)
        positive = target[:, None] == np.arange(len(names))
        confusion = classification.confusion_matrix(target, predicted, len(names))
        visible = np.ones_like(positive)
        return cls(names, scores, positive, visible, confusion, scores.max(1), predicted == target, num_dropped)

    @classmethod
    def of_labels(cls, names: list[str], scores: np.ndarray, target: np.ndarray) -> "ClassPredictions":
        """Select the labels of a multilabel task.

        Args:
            names: of the C labels.
            scores: probabilities [N, C].
            target: 0 or 1 [N, C]; hidden ones are NaN.
        """
        is_known, positive = ~np.isnan(target), target > 0.5
        visible = is_known & np.isfinite(scores)
        num_dropped = int((is_known & ~visible).sum())
        return cls(names, scores, positive, visible, None, scores[visible], positive[visible], num_dropped)


def plot_classes(title: str, predictions: ClassPredictions) -> Drawn:
    """Plot ROC and precision-recall curves, the confusion matrix and the reliability diagram of one task.

    Args:
        title: task and split.
        predictions: of the task.

    Returns:
        The plots; a note says which are left out.
    """
    if not len(predictions.confidence):
        return Drawn([], [f"{title}: no plots, no row has both a target and finite scores"])
    plots, notes = _plot_curves(title, predictions)
    if predictions.num_dropped:
        notes.append(f"{title}: {pluralize(predictions.num_dropped, 'prediction')} left out, not finite")
    if predictions.confusion is not None:
        rows = pluralize(len(predictions.confidence), "row")
        plots.append(plot_confusion(title, predictions.names, predictions.confusion, rows))
    bins = classification.bin_by_confidence(predictions.confidence, predictions.correct)
    plots.append(plot_reliability(title, bins))
    return Drawn(plots, notes)


# --------------------------------------------------------------------------------------------------------- curves


def _plot_curves(title: str, predictions: ClassPredictions) -> Drawn:
    """Plot both kinds of curves of the most frequent classes, and their means."""
    names = predictions.names
    curves = classification.compute_curves(names, predictions.scores, predictions.positive, predictions.visible)
    if not curves:
        return Drawn([], [f"{title}: no ROC and precision-recall curves; they need positive and negative rows"])
    notes = []
    nouns = "labels" if predictions.confusion is None else "classes"
    is_binary = nouns == "classes" and len(names) == 2
    if is_binary:  # those of the other class mirror them
        curves = {names[1]: curves[names[1]]}
    elif len(curves) < min(len(names), classification.MAX_CLASSES):
        missing = len(names) - len(curves)
        subject = f"{missing:,} of {len(names):,} {nouns}"
        notes.append(f"{title}: {subject} without a curve, for lack of positive or negative rows")
    counts = (predictions.positive & predictions.visible).sum(0)
    shown = select_shown(curves, dict(zip(names, counts.tolist(), strict=True)))
    mean = None if is_binary else OneVsRestCurves.average(map(OneVsRestCurves.from_curve, curves.values()))
    if is_binary:
        about = f"{shorten_name(names[1])} against {shorten_name(names[0])}"
    else:
        selected = "" if len(shown) == len(names) else f"{len(shown)} of {len(names):,} {nouns}, "
        about = f"{selected}each against the rest; the thick line is the mean of {len(curves)}"
    return Drawn([plot_roc(title, shown, mean, about), plot_precision_recall(title, shown, mean, about)], notes)


def select_shown(curves: Mapping[str, Curve], counts: Mapping[str, int]) -> dict[str, Curve]:
    """Return the curves of the classes with the most rows, at most MAX_CURVES, in the order of the classes.

    Args:
        curves: by class.
        counts: number of positive rows by class.
    """
    most_frequent = sorted(curves, key=lambda name: -counts[name])[:MAX_CURVES]
    return {name: curve for name, curve in curves.items() if name in most_frequent}


def plot_roc(title: str, curves: Mapping[str, Curve], mean: OneVsRestCurves | None, about: str) -> Plot:
    """Plot the true positive rate over the false positive rate, with the area under each curve.

    Args:
        title: task and split.
        curves: by class.
        mean: of all classes; None: there is but one curve.
        about: which curves these are.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for name, curve in curves.items():
            label = f"{shorten_name(name)} ({curve.auroc:.3f})"
            axes.plot(curve.false_positive_rate, curve.recall, label=label, **styles[name])
        if mean is not None:
            label = f"mean ({mean.auroc:.3f})"
            axes.plot([0, *GRID], [0, *mean.true_positive_rate], label=label, **_style_mean())
        _finish_curves(axes, "false positive rate", "true positive rate", "AUROC", "lower right")

    styles = _assign_line_styles(curves)
    areas = [f"{name} {curve.auroc:.3f}" for name, curve in curves.items()]
    if mean is not None:
        areas.append(f"mean {mean.auroc:.3f}")
    caption = f"{title}: ROC, {about}; chance is the dotted diagonal"
    return Plot("roc", caption, f"ROC curves of {title}. AUROC: {', '.join(areas)}.", draw)


def plot_precision_recall(title: str, curves: Mapping[str, Curve], mean: OneVsRestCurves | None, about: str) -> Plot:
    """Plot precision over recall, with the average precision of each curve.

    Args:
        title: task and split.
        curves: by class.
        mean: of all classes; None: there is but one curve.
        about: which curves these are.
    """

    def draw(axes: Axes) -> None:
        for name, curve in curves.items():
            label = f"{shorten_name(name)} ({curve.average_precision:.3f})"
            axes.plot(curve.recall, curve.precision, label=label, drawstyle="steps-pre", **styles[name])
        if mean is not None:
            axes.plot(GRID, mean.precision, label=f"mean ({mean.average_precision:.3f})", **_style_mean())
        _finish_curves(axes, "recall", "precision", "average precision", "lower left")

    styles = _assign_line_styles(curves)
    areas = [f"{name} {curve.average_precision:.3f}" for name, curve in curves.items()]
    if mean is not None:
        areas.append(f"mean {mean.average_precision:.3f}")
    caption = f"{title}: precision and recall, {about}"
    alt = f"Precision-recall curves of {title}. Average precision: {', '.join(areas)}."
    return Plot("precision-recall", caption, alt, draw)


def _assign_line_styles(names: Mapping[str, object]) -> dict[str, PlotKwargs]:
    styles: dict[str, PlotKwargs] = {}
    for number, name in enumerate(names):
        cycle, color = divmod(number, len(PALETTE))
        styles[name] = {"color": PALETTE[color], "linestyle": LINE_STYLES[cycle], "linewidth": 1.4}
    return styles


def _style_mean() -> PlotKwargs:
    return {"color": matplotlib.rcParams["text.color"], "linewidth": 2.6, "zorder": 3}


def _finish_curves(axes: Axes, x_label: str, y_label: str, legend: str, location: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    draw_legend(axes, legend, location=location)


# ---------------------------------------------------------------------------------------------------- calibration


def plot_reliability(title: str, bins: ConfidenceBins) -> Plot:
    """Plot accuracy over confidence, a reliability diagram (Guo et al., 2017).

    Args:
        title: task and split.
        bins: of all predictions.

    Returns:
        A mark for each bin, and the share of the predictions in it as a grey bar.
    """
    is_used = bins.rows > 0
    confidence, accuracy = bins.confidence[is_used] / bins.rows[is_used], bins.correct[is_used] / bins.rows[is_used]
    caption = f"{title}: calibration, on the dotted diagonal accuracy equals confidence; bars are the share of rows"
    error = f"expected calibration error {bins.calibration_error:.3f}"
    points = ", ".join(f"{right:.2f} at {sure:.2f}" for sure, right in zip(confidence, accuracy, strict=True))
    alt = f"Reliability diagram of {title}: {error}. Accuracy at confidence: {points}."
    return Plot("reliability", caption, alt, _make_reliability_drawer(bins.rows, confidence, accuracy, error))


def _make_reliability_drawer(
    rows: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, label: str
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        edges = np.linspace(0, 1, len(rows) + 1)
        axes.bar(edges[:-1], rows / rows.sum(), np.diff(edges), align="edge", color="grey", alpha=0.3, linewidth=0)
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        axes.plot(confidence, accuracy, color=PALETTE[0], marker="o", label=label)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy, share of rows")
        draw_legend(axes)

    return draw
