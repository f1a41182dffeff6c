"""The section on classes, from stored predictions: calibration, ROC and precision-recall curves, confusion matrices."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from mmrun.results import classification
from mmrun.results.classification import GRID, OneVsRestCurves
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import list_tasks, parse_primary_head, read_predictions
from mmrun.results.report.confusion import plot_confusion
from mmrun.results.report.groups import describe_groups, drop_empty, format_group, map_groups, merge_keys
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Styles, draw_legend
from mmrun.results.run_values import Group
from mmrun.results.schema import RunRecord

MAX_MATRICES = 6  # groups whose confusion matrix is drawn


class ClassificationSummary:
    """What the runs of a group predicted for one task, summed over the runs. Multilabel tasks have no confusion matrix.

    Args:
        names: of the C classes or labels.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.confusion = np.zeros((len(names), len(names)), int)  # [true, predicted]
        self.rows = np.zeros(classification.BINS)  # by bin of confidence
        self.confidence = np.zeros(classification.BINS)  # sum by bin
        self.correct = np.zeros(classification.BINS)  # number of correct rows by bin
        self.curves: list[OneVsRestCurves] = []  # of every run and class that has positive and negative rows

    def add(self, scores: np.ndarray, target: np.ndarray) -> None:
        """Add the rows of one run whose class is visible.

        Args:
            scores: [N, C] probabilities.
            target: [N] classes; hidden ones are negative.
        """
        scores, target = scores[target >= 0], target[target >= 0]
        predicted = scores.argmax(1)
        self.confusion += classification.confusion_matrix(target, predicted, len(self.names))
        positive = target[:, None] == np.arange(len(self.names))
        self._add_confidence(scores.max(1), predicted == target)
        self._add_curves(scores, positive, np.ones_like(positive))

    def add_labels(self, scores: np.ndarray, target: np.ndarray) -> None:
        """Add the visible labels of one run of a multilabel task.

        Args:
            scores: [N, C] probabilities.
            target: [N, C] labels, 0 or 1; hidden ones are NaN.
        """
        visible, positive = ~np.isnan(target), target > 0.5
        self._add_confidence(scores[visible], positive[visible])
        self._add_curves(scores, positive, visible)

    def _add_confidence(self, confidence: np.ndarray, correct: np.ndarray) -> None:  # both [N]
        binned = classification.bin_by_confidence(confidence, correct)
        self.rows += binned.rows
        self.confidence += binned.confidence
        self.correct += binned.correct

    def _add_curves(self, scores: np.ndarray, positive: np.ndarray, visible: np.ndarray) -> None:  # all [N, C]
        curves = classification.compute_curves(self.names, scores, positive, visible)
        self.curves += map(OneVsRestCurves.from_curve, curves.values())

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al., 2017) over the rows of all runs."""
        return classification.ConfidenceBins(self.rows, self.confidence, self.correct).calibration_error

    def average_curves(self) -> OneVsRestCurves:
        """Average the curves and areas over all classes and runs."""
        return OneVsRestCurves.average(self.curves)


class GroupSummary(NamedTuple):
    """What the runs of a group predicted.

    Attributes:
        tasks: by name, those that have classes or labels.
        notes: on runs that are left out, one line each.
    """

    tasks: dict[str, ClassificationSummary]
    notes: list[str]


def build_section(groups: Mapping[Group, Iterable[RunRecord]], metric: str, styles: Styles) -> Section | None:
    """Build the section for one task: that of the metric where it has classes, else the first that has.

    Args:
        groups: runs by group.
        metric: split and name, "test/accuracy".
        styles: of the groups.

    Returns:
        The section; None where no run stored predictions of a task with classes.
    """
    split, _, name = metric.partition("/")
    summarized = map_groups(lambda runs: summarize_predictions(runs, split), groups)
    notes = chain.from_iterable(summary.notes for summary in summarized.values())
    summaries = drop_empty({group: summary.tasks for group, summary in summarized.items()})
    if not summaries:
        return None
    tasks = merge_keys(summaries.values())
    task = next((task for task in tasks if name.startswith(f"{task}.")), tasks[0])
    task_summaries: dict[Group, ClassificationSummary] = {}
    for group, by_task in summaries.items():
        if task in by_task:
            task_summaries[group] = by_task[task]
    sentences = [f"Task {task}, one of {len(tasks)}."] if len(tasks) > 1 else []
    text = " ".join([*sentences, *notes])
    return Section("Calibration and classes", text, plots=_plot_task(task_summaries, styles))


def _plot_task(summaries: Mapping[Group, ClassificationSummary], styles: Styles) -> list[Plot]:
    curves: dict[Group, OneVsRestCurves] = {}
    matrices = []
    for group, summary in summaries.items():
        if summary.curves:
            curves[group] = summary.average_curves()
        if summary.confusion.any():
            name = format_group(group)
            plot = plot_confusion(name, summary.names, summary.confusion, "rows of all seeds pooled")
            matrices.append(replace(plot, name=f"confusion-{name}"))
    plots = [plot_roc(curves, styles), plot_precision_recall(curves, styles)] if curves else []
    return [*plots, plot_calibration(summaries, styles), *matrices[:MAX_MATRICES]]


def summarize_predictions(runs: Iterable[RunRecord], split: str) -> GroupSummary:
    """Sum up what the runs of a group predicted.

    Args:
        runs: of one group; those without stored predictions are left out.
        split: whose predictions are read.
    """
    summaries: dict[str, ClassificationSummary] = {}
    notes = []
    for run in runs:
        folder = RunFolder(run["folder"])
        if not (folder.predictions / f"{split}.parquet").exists():
            continue
        for task in list_tasks(folder, split):
            per_class = run["per_class"][split].get(task, {})
            if not classification.has_classes(per_class):
                continue
            _, scores, target = read_predictions(folder, split, task, parse_primary_head(run))
            summary = summaries.get(task, ClassificationSummary(list(per_class)))
            if list(per_class) != summary.names or not classification.match_outputs(per_class, scores, target):
                notes.append(f"{folder.name} is left out: its predictions of {task} are not those of its classes.")
                continue
            summaries[task] = summary
            add = summary.add if target.ndim == 1 else summary.add_labels
            add(scores, target)
    return GroupSummary(summaries, notes)


# --------------------------------------------------------------------------------------------------------- plots


def plot_calibration(summaries: Mapping[Group, ClassificationSummary], styles: Styles) -> Plot:
    """Plot accuracy over confidence, a reliability diagram (Guo et al., 2017).

    Args:
        summaries: by group.
        styles: of the groups.

    Returns:
        A line for each group; on the dotted diagonal, confidence equals accuracy.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for group, summary in summaries.items():
            used = summary.rows > 0
            confidence = summary.confidence[used] / summary.rows[used]
            accuracy = summary.correct[used] / summary.rows[used]
            style = styles[group].line_kwargs(0) | {"markersize": 4}
            label = f"{format_group(group)} ({summary.calibration_error:.3f})"
            axes.plot(confidence, accuracy, label=label, **style)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        draw_legend(axes, "calibration error")

    described = describe_groups(summaries, lambda summary: f"{summary.calibration_error:.3f}")
    caption = "calibration: on the dotted diagonal accuracy equals confidence; rows of all seeds pooled"
    return Plot("calibration", caption, f"Reliability diagram. Calibration error {described}.", draw)


def plot_roc(curves: Mapping[Group, OneVsRestCurves], styles: Styles) -> Plot:
    """Plot the true positive rate over the false positive rate.

    Args:
        curves: by group.
        styles: of the groups.

    Returns:
        A line for each group; chance is the dotted diagonal.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for group, curve in curves.items():
            label = f"{format_group(group)} ({curve.auroc:.3f})"
            style = styles[group].line_kwargs(len(GRID))
            axes.plot([0, *GRID], [0, *curve.true_positive_rate], label=label, **style)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        draw_legend(axes, "area", location="lower right")

    def describe(curve: OneVsRestCurves) -> str:
        rate = curve.true_positive_rate[10]
        return f"area {curve.auroc:.3f}, true positive rate {rate:.2f} at a false positive rate of 0.1"

    caption = "ROC: each class against the rest, mean over classes and seeds; chance is the dotted diagonal"
    return Plot("roc", caption, f"ROC curves. {describe_groups(curves, describe)}.", draw)


def plot_precision_recall(curves: Mapping[Group, OneVsRestCurves], styles: Styles) -> Plot:
    """Plot precision over recall.

    Args:
        curves: by group.
        styles: of the groups.

    Returns:
        A line for each group.
    """

    def draw(axes: Axes) -> None:
        for group, curve in curves.items():
            label = f"{format_group(group)} ({curve.average_precision:.3f})"
            axes.plot(GRID, curve.precision, label=label, **styles[group].line_kwargs(len(GRID)))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        draw_legend(axes, "average precision")

    def describe(curve: OneVsRestCurves) -> str:
        area = f"average precision {curve.average_precision:.3f}"
        return f"{area}, precision {curve.precision[50]:.2f} at a recall of 0.5"

    caption = "precision and recall: each class against the rest, mean over classes and seeds"
    return Plot("precision-recall", caption, f"Precision-recall curves. {describe_groups(curves, describe)}.", draw)
