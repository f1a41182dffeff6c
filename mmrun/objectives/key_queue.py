"""Negatives from earlier steps: a queue of keys, encoded by a moving average of encoder and projection."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.gather import gather_rows
from mmrun.objectives.step_state import StepState
from mmrun.objectives.teacher import EMACopy
from mmrun.types import Input


class KeyEncoder(nn.Module):
    """The momentum encoder of MoCo (He et al., 2020), and the queue of its keys. It is in eval mode.

    Args:
        encoder: that its copy follows.
        project: from features to the space of the keys; its copy follows it, too.
        size: of the queue.
        dim: D, width of the keys.
        decay: of the averages, per step.
    """

    def __init__(self, encoder: nn.Module, project: nn.Module, size: int, dim: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.encoder, self.project = EMACopy(encoder, batch_statistics=True), EMACopy(project)
        self.queue = KeyQueue(size, dim)

    @torch.no_grad()
    def forward(self, x: Input, present: Tensor) -> Tensor:
        """Return the keys of some rows [B, D], of length 1; in training they enter the queue after the step.

        Args:
            x: input of the encoder.
            present: [B] bool; keys of other rows are no negatives.
        """
        keys = F.normalize(self.project(self.encoder(x).pooled).float(), dim=-1)
        if self.training:
            self.queue.add(keys, present)
        return keys

    def update(self, encoder: nn.Module, project: nn.Module) -> None:
        """Move the averages, and let the keys of the step enter the queue.

        Args:
            encoder: that is trained.
            project: that is trained.
        """
        self.encoder.update(encoder, 1 - self.decay)
        self.project.update(project, 1 - self.decay)
        self.queue.update()


class KeyQueue(nn.Module):
    """The last keys of all processes, the same in each. It starts with random keys.

    Args:
        size: N.
        dim: D, width of the keys.
    """

    keys: Tensor
    usable: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=-1))
        self.register_buffer("usable", torch.ones(size, dtype=torch.bool))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))  # of the oldest key
        self.incoming = _Incoming(size, dim)

    @torch.no_grad()
    def add(self, keys: Tensor, usable: Tensor) -> None:
        """Collect the keys of a micro-batch.

        Args:
            keys: of this process [B, D]; B is the same in all.
            usable: [B] bool, which keys may be negatives.
        """
        self.incoming.add(gather_rows(keys), gather_rows(usable))

    @torch.no_grad()
    def update(self) -> None:
        """Replace the oldest keys by those of the step."""
        keys, usable, count = self.incoming.keys, self.incoming.usable, self.incoming.count
        size = len(keys)
        age = (torch.arange(size, device=keys.device) - self.position) % size  # 0: the oldest
        source = ((count - size).clamp(min=0) + age) % size  # of a step with more keys than fit, the last ones
        is_replaced = age < count
        self.keys.copy_(torch.where(is_replaced.unsqueeze(1), keys[source], self.keys))
        self.usable.copy_(torch.where(is_replaced, usable[source], self.usable))
        self.position.copy_((self.position + count) % size)
        count.zero_()


class _Incoming(StepState):
    """The keys of a step so far: the j-th is at j modulo N."""

    keys: Tensor
    usable: Tensor
    count: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, dim), persistent=False)
        self.register_buffer("usable", torch.zeros(size, dtype=torch.bool), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def add(self, keys: Tensor, usable: Tensor) -> None:
        size, num_new = len(self.keys), len(keys)
        skipped = max(0, num_new - size)
        positions = (self.count + torch.arange(skipped, num_new, device=keys.device)) % size
        self.keys.index_copy_(0, positions, keys[skipped:])
        self.usable.index_copy_(0, positions, usable[skipped:])
        self.count += num_new


def queue_cross_entropy(queries: Tensor, keys: Tensor, queue: KeyQueue, scale: Tensor | float) -> Tensor:
    """Return the cross-entropy of identifying each query's key among the keys of the queue, [B].

    Args:
        queries: [B, D], of length 1.
        keys: of the same rows [B, D], likewise.
        queue: of the negatives.
        scale: factor on the cosines, 1 / temperature.
    """
    positive = scale * (queries * keys).sum(-1, keepdim=True)
    negatives = (scale * queries @ queue.keys.T).masked_fill(~queue.usable, torch.finfo(queries.dtype).min)
    return -torch.cat([positive, negatives], 1).log_softmax(1)[:, 0]
