"""Decision-level fusions: a linear classifier per modality, whose logits are averaged or weighted."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import build_projections, mask_pooled, masked_mean, masked_softmax, project_pooled
from mmrun.types import Features, Fusion
from mmrun.values import PositiveFloat


class DecisionFusion(Fusion):
    """Base class of fusions of decisions: the fused vector is the logits of the only task."""

    def head(self, num_outputs: int) -> nn.Module:
        """Return a module that adds a bias: the fused vector is the logits already.

        Args:
            num_outputs: of the task.

        Returns:
            Module [B, C] -> [B, C].

        Raises:
            ConfigError: the task's outputs are not all outputs, so there are several tasks.
        """
        return build_bias(self.dim, num_outputs)


class Late(DecisionFusion):
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


class Qmf(DecisionFusion):
    """QMF, quality-aware fusion (Zhang, Wu, Zhang, Hu, Fu, Zhou & Peng, 2023): logits weighted by their confidence.

    Computes the sum over the present modalities of u_m * f_m, where f_m are a modality's logits and u_m is
    logsumexp(f_m) / temperature, its negative energy (Liu et al., 2020): in a row where a modality is noise, its logits
    are small, and so it counts little. No gradient passes through u_m. The authors add the loss of each modality
    (`strategy=multi_loss` adds those of the probes) and a ranking of confidences over time, which is not here.

    Args:
        dims: D_m, the width of each modality's features.
        num_outputs: C, the outputs of the single task, at least 2; also the width of the fused vector.
        temperature: that divides the confidences.

    Raises:
        ConfigError: there is one output, as in regression, whose energy says nothing.
    """

    needs_classes = True

    def __init__(self, dims: dict[str, int], num_outputs: int, temperature: PositiveFloat = 10.0) -> None:
        super().__init__()
        check_several_outputs("qmf", num_outputs)
        self.dim = num_outputs
        self.logits = build_projections(dims, num_outputs)
        self.temperature = temperature

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Weight the logits and sum them.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Logits without their bias [B, C].
        """
        logits, mask = project_pooled(self.logits, features, present)  # [B, M, C], [B, M]
        confidence = logits.detach().logsumexp(2) / self.temperature  # [B, M]
        return (torch.where(mask, confidence, 0.0)[..., None] * logits).sum(1)


class Cosine(nn.Linear):
    """The cosine of a vector with the weight vector of each class; that of zeros is 0.

    Args:
        in_features: D.
        out_features: C.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the cosines, [B, D] -> [B, C]."""
        return F.linear(F.normalize(x, dim=1), F.normalize(self.weight, dim=1))


class MMCosine(DecisionFusion):
    """MMCosine (Xu, Feng, Zhang & Hu, 2023): cosines in place of logits, so that no modality wins by its norm.

    Computes the sum over the present modalities of scale * cos(w_mc, x_m), the angle between a modality's features and
    its weight vector of each class. A strong modality cannot grow features or weights to drown the others.

    Args:
        dims: D_m, the width of each modality's features.
        num_outputs: C, the outputs of the single task, at least 2; also the width of the fused vector.
        scale: of the cosines. The more classes, the larger it has to be for confident predictions.

    Raises:
        ConfigError: there is one output, as in regression, whose size a cosine does not tell.
    """

    needs_classes = True

    def __init__(self, dims: dict[str, int], num_outputs: int, scale: PositiveFloat = 10.0) -> None:
        super().__init__()
        check_several_outputs("mmcosine", num_outputs)
        self.dim = num_outputs
        self.logits = nn.ModuleDict({name: Cosine(width, num_outputs) for name, width in dims.items()})
        self.scale = scale

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Sum the scaled cosines.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Logits without their bias [B, C].
        """
        cosines = [cosine(mask_pooled(features[name], present[name])) for name, cosine in self.logits.items()]
        return self.scale * torch.stack(cosines).sum(0)


def check_several_outputs(name: str, num_outputs: int) -> None:
    """Reject a task with one output.

    Args:
        name: of the fusion.
        num_outputs: of the task.

    Raises:
        ConfigError: there is one output.
    """
    if num_outputs < 2:
        raise ConfigError(
            f"fusion: {name} needs several outputs, of classes or labels, and the task has one; choose another fusion"
        )


def build_bias(dim: int, num_outputs: int) -> "Bias":
    """Build the head of a fusion whose fused vector is logits.

    Args:
        dim: C, of all logits.
        num_outputs: of the task.

    Returns:
        Module [B, C] -> [B, C].

    Raises:
        ConfigError: the task's outputs are not all outputs, so there are several tasks.
    """
    if num_outputs != dim:
        raise ConfigError(
            f"fusion: late fusion computes {dim} logits, but one task has {num_outputs} outputs: it supports a single "
            "task; choose another fusion"
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
