"""One class that must not be missed: a disease, a defect, a fraud."""

import numpy as np

from mmrun.errors import ConfigError, nearest
from mmrun.tasks.classification import Classification
from mmrun.tasks.metrics import sensitivity_at_specificity
from mmrun.types import IGNORE_INDEX
from mmrun.values import PositiveShare


class Screening(Classification):
    """A classification that is also judged by how much of one class it detects at a fixed specificity.

    Args:
        name: of the task.
        classes: names, in the order of the outputs.
        counts: training rows per class [C].
        positive: the class to detect; all others are negative.
        specificity: the least share of negative rows that have to stay below the threshold.

    Raises:
        ConfigError: `positive` is not one of the classes.
    """

    def __init__(
        self,
        name: str,
        classes: list[str],
        counts: np.ndarray,
        positive: str | int | None = None,
        specificity: PositiveShare = 0.9,
    ) -> None:
        super().__init__(name, classes, counts)
        if positive is None:
            raise ConfigError(f"tasks.{name}.positive: is not set; name the class to detect ({', '.join(classes)})")
        if str(positive) not in classes:
            others = f"{nearest(str(positive), classes)} (there are {', '.join(classes)})"
            raise ConfigError(f"tasks.{name}.positive: no class '{positive}'{others}")
        self.positive = classes.index(str(positive))
        self.specificity = specificity

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the metrics of a classification, and the sensitivity where the split has positive and negative rows.

        Args:
            scores: probabilities [N, C].
            target: [N].
        """
        metrics = super().metrics(scores, target)
        visible = target != IGNORE_INDEX
        truth = target[visible] == self.positive
        if truth.any() and not truth.all():
            metrics["sensitivity_at_specificity"] = sensitivity_at_specificity(
                scores[visible, self.positive], truth, self.specificity
            )
        return metrics
