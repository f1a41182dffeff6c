"""Calibration, confusion matrix and curves of one task, from its stored predictions."""

import numpy as np

from mmrun.results.classification import compute_curves, reliability_diagram, summarize_confusion, thin_curve
from mmrun.results.evaluation_schema import ClassEvaluation
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import IGNORE_INDEX, Task


def evaluate_classes(task: Task, scores: np.ndarray, target: np.ndarray) -> ClassEvaluation | None:
    """Return the reliability diagram, the confusion matrix and the curves of a task.

    Args:
        task: of any type.
        scores: [N, C], probabilities.
        target: [N] classes, or [N, C] labels. Hidden targets are not counted.

    Returns:
        None for a task that has neither classes nor labels. Labels have no confusion matrix.
    """
    if isinstance(task, Classification):
        visible = target != IGNORE_INDEX
        scores, target = scores[visible], target[visible]
        predicted = scores.argmax(1)
        truth = target[:, None] == np.arange(task.num_outputs)  # [N, C]
        class_curves = compute_curves(task.classes, scores, truth, np.ones_like(truth))
        return {
            "reliability": reliability_diagram(scores.max(1), predicted == target),
            "confusion": summarize_confusion(task.classes, target, predicted),
            "curves": {name: thin_curve(curve) for name, curve in class_curves.items()},
        }
    if isinstance(task, Multilabel):
        visible, truth = ~np.isnan(target), target > 0.5
        label_curves = compute_curves(task.labels, scores, truth, visible)
        return {
            "reliability": reliability_diagram(scores[visible], truth[visible]),
            "curves": {name: thin_curve(curve) for name, curve in label_curves.items()},
        }
    return None
