"""Learn the tasks from every subset of the modalities, so that one model can do without any of them."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.types import Batch, Objective
from mmrun.types import Task as AnyTask


class ModalityDropout(Objective):
    """The objective `task`, each modality of each row left out at random (ModDrop: Neverova et al., 2016).

    A row keeps at least one of those that it has. At rate 0.5 all subsets come equally often, single modalities a
    little more, as they stand in for the empty one. Validation sees the rows as they are.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Iterable[str],
        drop_prob: float = 0.25,
    ) -> None:
        super().__init__()
        if not 0 <= drop_prob <= 1:
            raise ConfigError(f"objective.drop_prob: {drop_prob} is not between 0 and 1")
        self.task = task(tasks=tasks, kinds=kinds)
        self.drop_prob = drop_prob

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective."""
        if self.training:
            batch = batch._replace(present=leave_out(batch.present, self.drop_prob))
        losses: dict[str, Tensor] = self.task(model, batch)
        return losses


def leave_out(present: dict[str, Tensor], drop_prob: float) -> dict[str, Tensor]:  # by modality, [B] bool
    """Draw which of the present modalities stay; of a row that would lose all, the one drawn highest does."""
    here = torch.stack(list(present.values()), dim=1)  # [B, M]
    drawn = torch.rand(here.shape, device=here.device).masked_fill(~here, -1.0)
    highest = drawn == drawn.amax(dim=1, keepdim=True)
    stays = here & ((drawn >= drop_prob) | highest)
    return dict(zip(present, stays.unbind(1), strict=True))
