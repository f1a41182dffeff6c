"""The section on classes, from stored predictions: calibration, ROC and precision-recall curves, confusion."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from mmrun.results import classification
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import list_tasks, parse_primary_head, read_predictions
from mmrun.results.report.charts import heat
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Look, key
from mmrun.results.schema import RunRecord
from mmrun.results.selection import Group

MATRICES = 6  # groups whose confusion is drawn
CLASSES = 20  # with more, a matrix cannot be read
GRID = np.linspace(0, 1, 101)  # of mean curves


class Drawn(NamedTuple):
    """The curves of a class against the rest, or their mean, on GRID."""

    true_positive_rate: np.ndarray  # [101], over the false positive rate
    precision: np.ndarray  # [101], over recall
    auroc: float
    average_precision: float

    @classmethod
    def of(cls, curve: classification.Curve) -> "Drawn":
        """Read a curve at the points of GRID; precision is that of the first threshold which recalls so much."""
        at = np.searchsorted(curve.recall[1:], GRID - 1e-9)
        found = np.interp(GRID, curve.false_positive_rate, curve.recall)
        return cls(found, curve.precision[1:][at], curve.auroc, curve.average_precision)


class Classified:
    """The predictions of a group's runs for one task, added up. Labels have no confusion."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.confusion = np.zeros((len(names), len(names)), int)  # [true, predicted]
        self.rows, self.confidence, self.right = (np.zeros(classification.BINS) for _ in range(3))  # by bin, sums
        self.curves: list[Drawn] = []  # of every run and class that has rows of both sorts

    def add(self, scores: np.ndarray, target: np.ndarray) -> None:  # [N, C], [N]
        """Count the rows of one run whose class is known."""
        scores, target = scores[target >= 0], target[target >= 0]
        predicted = scores.argmax(1)
        self.confusion += classification.confusion_matrix(target, predicted, len(self.names))
        truth = target[:, None] == np.arange(len(self.names))
        self._add(scores.max(1), predicted == target, scores, truth, np.ones_like(truth))

    def add_labels(self, scores: np.ndarray, target: np.ndarray) -> None:  # both [N, C]
        """Count the labels of one run that are known."""
        known, truth = ~np.isnan(target), target > 0.5
        self._add(scores[known], truth[known], scores, truth, known)

    def _add(
        self, confidence: np.ndarray, right: np.ndarray, scores: np.ndarray, truth: np.ndarray, known: np.ndarray
    ) -> None:
        for total, more in zip(
            (self.rows, self.confidence, self.right), classification.bin_by_confidence(confidence, right), strict=True
        ):
            total += more
        self.curves += [
            Drawn.of(curve) for curve in classification.compute_curves(self.names, scores, truth, known).values()
        ]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al., 2017), all rows taken together."""
        return float(np.abs(self.right - self.confidence).sum() / self.rows.sum())

    def curve(self) -> "Drawn":
        """Return the mean over all classes and runs."""
        return Drawn(*(np.mean(values, axis=0) for values in zip(*self.curves, strict=True)))


def section(groups: Mapping[Group, list[RunRecord]], metric: str, look: Mapping[Group, Look]) -> Section | None:
    """Show one task: that of the metric where it has classes, else the first that has."""
    split, _, name = metric.partition("/")
    found = {group: said for group, runs in groups.items() if (said := read(runs, split))}
    if not found:
        return None
    tasks = list(dict.fromkeys(task for said in found.values() for task in said))
    task = next((task for task in tasks if name.startswith(f"{task}.")), tasks[0])
    of_task = {group: said[task] for group, said in found.items() if task in said}
    curved = {group: said.curve() for group, said in of_task.items() if said.curves}
    drawn = [roc(curved, look), precision_recall(curved, look)] if curved else []
    drawn.append(calibration(of_task, look))
    matrices = [(group, said) for group, said in of_task.items() if said.confusion.any() and len(said.names) <= CLASSES]
    drawn += [confusion(group, said) for group, said in matrices[:MATRICES]]
    return Section("Calibration and classes", f"Of {len(tasks)} tasks: {task}." if len(tasks) > 1 else "", plots=drawn)


def read(runs: Iterable[RunRecord], split: str) -> dict[str, Classified]:
    """Read what a group's runs predicted, by task; tasks that have no classes are left out."""
    found: dict[str, Classified] = {}
    for run in runs:
        folder = RunFolder(run["folder"])
        if not (folder.predictions / f"{split}.parquet").exists():
            continue
        for task in list_tasks(folder, split):
            figures = run["per_class"][split][task]
            if all("f1" in of_class for of_class in figures.values()):  # numbers have errors instead
                said = found.setdefault(task, Classified(list(figures)))
                _, scores, target = read_predictions(folder, split, task, parse_primary_head(run))
                (said.add if target.ndim == 1 else said.add_labels)(scores, target)
    return found


# --------------------------------------------------------------------------------------------------------- pictures


def calibration(found: Mapping[Group, Classified], look: Mapping[Group, Look]) -> Plot:
    """Show accuracy over confidence (Guo et al., 2017); on the diagonal, probabilities mean what they say."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for group, said in found.items():
            used = said.rows > 0
            confidence, right = said.confidence[used] / said.rows[used], said.right[used] / said.rows[used]
            style = look[group].style(0) | {"markersize": 4}
            axes.plot(confidence, right, label=f"{','.join(group)} ({said.calibration_error:.3f})", **style)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        key(axes, "calibration error")

    said = "; ".join(f"{','.join(group)}: {one.calibration_error:.3f}" for group, one in found.items())
    caption = "calibration: on the dotted diagonal a model is right as often as it says; rows of all seeds together"
    return Plot("calibration", caption, f"Reliability diagram. Calibration error {said}.", draw)


def roc(found: Mapping[Group, Drawn], look: Mapping[Group, Look]) -> Plot:
    """Show how many true rows each class finds, over how many false ones it lets in."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle=":")
        for group, said in found.items():
            label = f"{','.join(group)} ({said.auroc:.3f})"
            axes.plot([0, *GRID], [0, *said.true_positive_rate], label=label, **look[group].style(len(GRID)))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        key(axes, "area", loc="lower right")

    said = "; ".join(
        f"{','.join(group)}: area {one.auroc:.3f}, true positive rate {one.true_positive_rate[10]:.2f} at a false one "
        "of 0.1"
        for group, one in found.items()
    )
    caption = "ROC: each class against the rest, mean over classes and seeds; chance is the dotted diagonal"
    return Plot("roc", caption, f"ROC curves. {said}.", draw)


def precision_recall(found: Mapping[Group, Drawn], look: Mapping[Group, Look]) -> Plot:
    """Show how many of the found rows are true, over how many of the true ones are found."""

    def draw(axes: Axes) -> None:
        for group, said in found.items():
            label = f"{','.join(group)} ({said.average_precision:.3f})"
            axes.plot(GRID, said.precision, label=label, **look[group].style(len(GRID)))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        key(axes, "average precision")

    said = "; ".join(
        f"{','.join(group)}: average precision {one.average_precision:.3f}, precision {one.precision[50]:.2f} "
        "at a recall of 0.5"
        for group, one in found.items()
    )
    caption = "precision and recall: each class against the rest, mean over classes and seeds"
    return Plot("precision-recall", caption, f"Precision-recall curves. {said}.", draw)


def confusion(group: Group, found: Classified) -> Plot:
    """Show which classes are taken for which, as shares of the true class."""
    shares = found.confusion / np.maximum(found.confusion.sum(1, keepdims=True), 1)

    def draw(axes: Axes) -> None:
        heat(
            axes,
            shares,
            found.names,
            found.names,
            lambda value: f"{value * 100:.0f}" if value >= 0.005 else "",
            0,
            1,
        )
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")

    wrong = found.confusion - np.diag(found.confusion.diagonal())
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    most = f"most often {found.names[true]} is taken for {found.names[predicted]}: {shares[true, predicted]:.0%}"
    side = max(3.2, min(5.0, 1.6 + 0.2 * len(found.names)))
    name = ",".join(group)
    caption = f"{name}: confusion, % of each true class, all seeds together"
    return Plot(f"confusion-{name}", caption, f"Confusion matrix of {name}; {most}.", draw, side, side)
