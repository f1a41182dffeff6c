"""Learn from rows without a target what the model is sure of."""

from collections.abc import Callable, Mapping

from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.teacher import frozen
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import IGNORE_INDEX, Batch, Objective
from mmrun.types import Task as AnyTask


class PseudoLabel(Objective):
    """Pseudo-labels (Lee, 2013): hidden targets are filled in by the model as the stage finds it, where it is sure.

    A class counts where its probability reaches `threshold`, a label where it or its absence does; numbers have no
    probability and stay hidden. The rest is the objective `task`. Validation sees true targets.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        model: Multimodal,
        threshold: float = 0.95,
    ) -> None:
        super().__init__()
        if not any(isinstance(one, Classification | Multilabel) for one in tasks.values()):
            raise ConfigError(
                f"objective: no task predicts probabilities, which a threshold needs (there are {', '.join(tasks)})"
            )
        if not 0 <= threshold <= 1:
            raise ConfigError(f"objective.threshold: {threshold} is not between 0 and 1")
        self.task = task(tasks=tasks, kinds=kinds)
        self.tasks, self.threshold = dict(tasks), threshold
        self.teacher = frozen(model)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective."""
        if self.training:
            outputs = self.teacher(batch).outputs
            filled = {
                name: fill(task, task.scores(outputs[name]), batch.targets[name], self.threshold)
                for name, task in self.tasks.items()
            }
            batch = batch._replace(targets=filled)
        losses: dict[str, Tensor] = self.task(model, batch)
        return losses


def fill(task: AnyTask, scores: Tensor, target: Tensor, threshold: float) -> Tensor:  # [B, C], [B, ...] -> [B, ...]
    """Return the targets, the hidden ones of which scores are sure filled in."""
    if isinstance(task, Classification):
        sure, said = scores.max(1)
        return said.where((target == IGNORE_INDEX) & (sure >= threshold), target)
    if isinstance(task, Multilabel):
        on = scores >= 0.5
        return on.to(target.dtype).where(target.isnan() & (scores.where(on, 1 - scores) >= threshold), target)
    return target
