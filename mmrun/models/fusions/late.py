"""Decision-level fusion: every modality decides alone, and the decisions are averaged."""

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import masked_mean, masked_softmax, project_pooled
from mmrun.types import Features, Fusion


class Late(Fusion):
    """Late fusion: the average, over the present modalities, of the logits of a linear layer each.

    weights=uniform: all count the same; weights=learned: by a softmax over one number a modality. Additive throughout:
    what only a combination of modalities tells is out of its reach. The vector is the logits, dim = num_outputs.
    """

    def __init__(self, dims: dict[str, int], num_outputs: int, weights: str = "uniform") -> None:
        super().__init__()
        if weights not in ("uniform", "learned"):
            raise ConfigError(f"fusion.weights: '{weights}' is neither uniform nor learned")
        self.dim = num_outputs
        self.logits = nn.ModuleDict({name: nn.Linear(width, num_outputs, bias=False) for name, width in dims.items()})
        self.scores = nn.Parameter(torch.zeros(len(dims))) if weights == "learned" else None

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, num_outputs]
        """Fuse."""
        logits, here = project_pooled(self.logits, features, present)  # [B, M, num_outputs], [B, M]
        if self.scores is None:
            return masked_mean(logits, here)
        return (masked_softmax(self.scores.expand(here.shape[0], -1), here, dim=1)[..., None] * logits).sum(1)

    def head(self, num_outputs: int) -> nn.Module:
        """Return the one bias that the logits still lack."""
        if num_outputs != self.dim:
            raise ConfigError(
                f"fusion: late decides on {self.dim} outputs and a task has {num_outputs}; choose another fusion"
            )
        return Bias(num_outputs)


class Bias(nn.Module):
    """Adds a learned vector."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Add it."""
        return x + self.bias
