"""Identify another view of a row among views of other rows, of this step and of many before it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.key_queue import KeyEncoder, queue_cross_entropy
from mmrun.objectives.pretext import Pretext
from mmrun.types import Features, Input
from mmrun.values import PositiveFloat, PositiveInt, Share, Width


class Moco(Pretext):
    """MoCo (He et al., 2020), with the projection of v2 (Chen et al., 2020), over views of any kind of input.

    A query, one view of a row, identifies its key, another view encoded by a moving average of the encoder, among the
    keys of earlier steps. Negatives do not depend on the batch size, and without batch norms the gradient is the same
    however a batch is split. The average is in eval mode, so rows need no shuffling between processes.

    Args:
        dim: width of the encoder's features.
        view: builds what draws a view of each row: one of the augmentations.
        queue: number of keys, less than there are training rows.
        temperature: divides the cosine similarities.
        decay: of the average, per step.
        projection_dim: width of the space in which views are compared.
    """

    alone = True

    def __init__(
        self,
        dim: int,
        view: Callable[[], nn.Module],
        queue: PositiveInt = 1024,
        temperature: PositiveFloat = 0.2,
        decay: Share = 0.99,
        projection_dim: Width = 64,
    ) -> None:
        super().__init__()
        self.view = view()
        self.size, self.temperature, self.decay = queue, temperature, decay
        self.projection_dim = projection_dim
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, projection_dim))

    def attach(self, encoder: nn.Module) -> None:
        """Start the average of the encoder as a copy of it."""
        self.keys = KeyEncoder(encoder, self.project, self.size, self.projection_dim, self.decay)

    def update(self, encoder: nn.Module) -> None:
        """Move the average, and let the keys of the step enter the queue."""
        self.keys.update(encoder, self.project)

    def corrupt(self, x: Input, present: Tensor) -> tuple[Input, Tensor]:
        """Return a view of each row, and the key of another one [B, P].

        Args:
            x: of B rows.
            present: [B] bool; keys of other rows are no negatives.
        """
        keys: Tensor = self.keys(self.view(x), present)
        return self.view(x), keys

    def loss(self, features: Features, target: Tensor) -> Tensor:
        """Return the cross-entropy of identifying each row's key, [B].

        Args:
            features: pooled [B, D].
            target: the keys [B, P].
        """
        queries = self.project(features.pooled).float()
        with torch.autocast(queries.device.type, enabled=False):
            return queue_cross_entropy(F.normalize(queries, dim=-1), target, self.keys.queue, 1 / self.temperature)
