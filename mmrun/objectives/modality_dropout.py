"""Learn the tasks from random subsets of the modalities, so that one model copes when some are missing."""

from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import drop_modalities
from mmrun.models.multimodal import Multimodal
from mmrun.types import Batch, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import Share


class ModalityDropout(Objective):
    """The objective `task` with each modality of each row dropped at random (ModDrop: Neverova et al., 2016).

    A row keeps at least one of its modalities. At probability 0.5 all subsets are equally frequent, except that single
    modalities also get the share of the empty one. Validation uses all modalities.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        drop_prob: probability that a modality of a row is dropped, 0..1.

    Raises:
        ConfigError: `drop_prob` is out of range.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Iterable[str],
        drop_prob: Share = 0.25,
    ) -> None:
        super().__init__()
        if not 0 <= drop_prob <= 1:
            raise ConfigError(f"objective.drop_prob: {drop_prob} is not between 0 and 1")
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.returns_task_losses = self.task.returns_task_losses
        self.drop_prob = drop_prob

    def prepare(self, batch: Batch) -> Batch:
        """Drop modalities; see `Objective.prepare`."""
        return batch._replace(present=drop_modalities(batch.present, self.drop_prob))

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if self.training and batch.weights is None:
            batch = self.prepare(batch)
        losses: dict[str, Tensor] = self.task(model, batch)
        return losses
