"""How far probabilities can be believed, and which classes are taken for which: what a kind of task has of it."""

from typing import Any

import numpy as np

from mmrun.results.classification import compute_curves, reliability_diagram, summarize_confusion, thin_curve
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import IGNORE_INDEX, Task


def classes(task: Task, scores: np.ndarray, target: np.ndarray) -> dict[str, Any] | None:
    """Return all that concerns probabilities and classes; None for a task that has neither."""
    if isinstance(task, Classification):
        visible = target != IGNORE_INDEX
        scores, target = scores[visible], target[visible]
        predicted = scores.argmax(1)
        truth = target[:, None] == np.arange(task.num_outputs)
        drawn = compute_curves(task.classes, scores, truth, np.ones_like(truth))
        return {
            "reliability": reliability_diagram(scores.max(1), predicted == target),
            "confusion": summarize_confusion(task.classes, target, predicted),
            "curves": {name: thin_curve(curve) for name, curve in drawn.items()},
        }
    if isinstance(task, Multilabel):
        known, truth = ~np.isnan(target), target > 0.5
        drawn = compute_curves(task.labels, scores, truth, known)
        return {
            "reliability": reliability_diagram(scores[known], truth[known]),
            "curves": {name: thin_curve(curve) for name, curve in drawn.items()},
        }
    return None
