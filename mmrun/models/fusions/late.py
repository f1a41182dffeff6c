"""Decision-level fusion: a linear classifier per modality, whose logits are averaged."""

from typing import Literal

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import masked_mean, masked_softmax, project_pooled
from mmrun.types import Features, Fusion


class Late(Fusion):
    """Average the logits of a linear layer per modality over the present modalities.

    It is additive throughout: it cannot learn what only a combination of modalities reveals. The fused vector is the
    logits themselves.

    Args:
        dims: D_m, the width of each modality's features.
        num_outputs: C, the outputs of the single task; also the width of the fused vector.
        weights: uniform: all modalities count the same; learned: by a softmax over one score per modality.

    Raises:
        ConfigError: `weights` is neither.
    """

    def __init__(
        self, dims: dict[str, int], num_outputs: int, weights: Literal["uniform", "learned"] = "uniform"
    ) -> None:
        super().__init__()
        if weights not in ("uniform", "learned"):
            raise ConfigError(f"fusion.weights: '{weights}' is neither uniform nor learned")
        self.dim = num_outputs
        self.logits = nn.ModuleDict({name: nn.Linear(width, num_outputs, bias=False) for name, width in dims.items()})
        self.scores = nn.Parameter(torch.zeros(len(dims))) if weights == "learned" else None

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Average the logits.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Logits without their bias [B, C].
        """
        logits, mask = project_pooled(self.logits, features, present)  # [B, M, C], [B, M]
        if self.scores is None:
            return masked_mean(logits, mask)
        weights = masked_softmax(self.scores.expand(mask.shape[0], -1), mask, dim=1)  # [B, M]
        return (weights[..., None] * logits).sum(1)

    def head(self, num_outputs: int) -> nn.Module:
        """Return a module that adds a bias: the fused vector is the logits already.

        Args:
            num_outputs: of the task.

        Returns:
            Module [B, C] -> [B, C].

        Raises:
            ConfigError: the task's outputs are not all outputs, so there are several tasks.
        """
        if num_outputs != self.dim:
            raise ConfigError(
                f"fusion: late fusion computes {self.dim} logits, but one task has {num_outputs} outputs: it supports "
                "a single task; choose another fusion"
            )
        return Bias(num_outputs)


class Bias(nn.Module):
    """Add a learned bias, zero at first.

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Add the bias to x, [B, C]."""
        return x + self.bias
