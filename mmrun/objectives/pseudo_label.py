"""Pseudo-labels: learn from unlabelled rows what the model is already confident of."""

from collections.abc import Callable, Mapping

from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.teacher import freeze_copy
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import IGNORE_INDEX, Batch, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import Share


class PseudoLabel(Objective):
    """Pseudo-labels (Lee, 2013): a frozen copy of the model fills in hidden targets where it is confident.

    A class is filled in where its probability reaches the threshold, a label where its probability or that of its
    absence does. Numbers have no probability and stay hidden. Validation uses the true targets.

    Args:
        task: builds the supervised objective that learns from the targets.
        tasks: the tasks by name.
        kinds: kind of each modality.
        model: as it is when the stage starts; a copy of it predicts the pseudo-labels.
        threshold: probability from which on a prediction becomes a target, 0..1.

    Raises:
        ConfigError: no task predicts probabilities, or the threshold is out of range.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        model: Multimodal,
        threshold: Share = 0.95,
    ) -> None:
        super().__init__()
        require_probabilities(tasks)
        if not 0 <= threshold <= 1:
            raise ConfigError(f"objective.threshold: {threshold} is not between 0 and 1")
        self.task = task(tasks=tasks, kinds=kinds)
        self.returns_task_losses = self.task.returns_task_losses
        self.tasks, self.threshold = dict(tasks), threshold
        self.teacher = freeze_copy(model)

    def prepare(self, batch: Batch) -> Batch:
        """Fill in hidden targets; see `Objective.prepare`."""
        outputs = self.teacher(batch).outputs
        targets = {}
        for name, task in self.tasks.items():
            scores = task.scores(outputs[name])
            targets[name] = fill_hidden_targets(task, scores, batch.targets[name], self.threshold)
        return batch._replace(targets=targets)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, in training with pseudo-labels as targets.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if self.training and batch.weights is None:
            batch = self.prepare(batch)
        losses: dict[str, Tensor] = self.task(model, batch)
        return losses


def require_probabilities(tasks: Mapping[str, AnyTask]) -> None:
    """Reject tasks none of which predicts probabilities.

    Args:
        tasks: by name.

    Raises:
        ConfigError: none does.
    """
    if not any(isinstance(task, Classification | Multilabel) for task in tasks.values()):
        raise ConfigError(
            f"objective: no task predicts probabilities, which a threshold needs (there are {', '.join(tasks)})"
        )


def fill_hidden_targets(task: AnyTask, scores: Tensor, target: Tensor, threshold: float) -> Tensor:
    """Return the targets, with confident predictions in place of hidden ones.

    Args:
        task: decides what a confident prediction is.
        scores: probabilities [B, C].
        target: [B] or [B, C].
        threshold: smallest probability of a prediction that is filled in.

    Returns:
        Shaped as `target`.
    """
    if isinstance(task, Classification):
        confidence, predicted = scores.max(1)
        return predicted.where((target == IGNORE_INDEX) & (confidence >= threshold), target)
    if isinstance(task, Multilabel):
        predicted = scores >= 0.5
        confidence = scores.where(predicted, 1 - scores)
        return predicted.to(target.dtype).where(target.isnan() & (confidence >= threshold), target)
    return target
