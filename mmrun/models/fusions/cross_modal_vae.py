"""Missing modalities generated from the others, by a variational autoencoder of pooled features."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.fusions.presence import drop_modalities

MOMENTUM = 0.1  # of running moments, as that of batch norm
EPS = 1e-5  # added to variances
START_LOG_VARIANCE = -4.0  # of standardised features; from 0, codes collapse to the prior, and every row gets the mean


class CrossModalVae(nn.Module):
    """The variational autoencoder of several modalities MoPoE-VAE (Sutter et al., 2021), on pooled features.

    Each modality that a row has is a Gaussian expert on a code. The posterior is the product of these experts and of
    the standard normal prior (Wu & Goodman, 2018), and a decoder per modality predicts the mean of its features, whose
    variance is learned. In each step, each row's code is inferred from a random subset of the modalities that it has,
    and reconstructs all of these: an estimate of the paper's bound, whose posterior is a mixture over all subsets.

    It is taught by rows that have the modality to generate, not by tasks, and encoders get no gradients from it.

    Args:
        dims: D_m, the width of each modality's features.
        latent_dim: L, width of a code.
        hidden_dim: of the hidden layer of each expert and decoder.
    """

    def __init__(self, dims: dict[str, int], latent_dim: int = 32, hidden_dim: int = 128) -> None:
        super().__init__()
        self.moments: Mapping[str, RunningMoments] = nn.ModuleDict(  # type: ignore[assignment]
            {modality: RunningMoments(dim) for modality, dim in dims.items()}
        )
        self.expert = nn.ModuleDict({m: _build_mlp(dim, hidden_dim, 2 * latent_dim) for m, dim in dims.items()})
        self.decoder = nn.ModuleDict({m: _build_mlp(latent_dim, hidden_dim, dim) for m, dim in dims.items()})
        starts = {modality: torch.full((dim,), START_LOG_VARIANCE) for modality, dim in dims.items()}
        self.log_variance = nn.ParameterDict({modality: nn.Parameter(start) for modality, start in starts.items()})

    def forward(self, pooled: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """Generate the features of every modality from the mean of the posterior.

        Args:
            pooled: by modality, [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Features by modality, [B, D_m].
        """
        mean, _ = self._infer(self._standardise(pooled, present), present)
        return {modality: self.moments[modality].restore(self.decoder[modality](mean)) for modality in pooled}

    def losses(self, pooled: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the negative evidence lower bound per feature, in nats up to a constant.

        The divergence of a row's posterior is shared evenly by the modalities that it has.

        Args:
            pooled: by modality, [B, D_m].
            present: by modality, [B] bool.

        Returns:
            By modality, the mean over the rows that have it; 0 where there is none.
        """
        pooled = {modality: x.detach() for modality, x in pooled.items()}
        present = {modality: present[modality] for modality in pooled}
        if self.training:
            for modality, x in pooled.items():
                self.moments[modality].update(x, present[modality])
        targets = self._standardise(pooled, present)
        mean, precision = self._infer(targets, drop_modalities(present, 0.5))
        code = mean + torch.randn_like(mean) / precision.sqrt()
        divergence = 0.5 * (mean.square() + 1 / precision + precision.log() - 1).sum(1)  # [B], from the prior
        num_present = torch.stack(list(present.values())).sum(0).clamp(min=1)
        losses = {}
        for modality, target in targets.items():
            log_variance = self.log_variance[modality]
            error = (self.decoder[modality](code).float() - target).square()
            rows = 0.5 * (error / log_variance.exp() + log_variance).sum(1) + divergence / num_present
            total = torch.where(present[modality], rows, 0.0).sum() / present[modality].sum().clamp(min=1)
            losses[modality] = total / target.shape[1]
        return losses

    def _standardise(self, pooled: dict[str, Tensor], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return standardised features, 0 where a modality is missing."""
        return {m: torch.where(present[m][:, None], self.moments[m](x), 0.0) for m, x in pooled.items()}

    def _infer(self, standardised: dict[str, Tensor], present: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return mean and precision of the posterior, [B, L]: a product of Gaussians, of which the prior is one."""
        means, precisions = [], []
        for modality, x in standardised.items():
            mean, raw = self.expert[modality](x).float().chunk(2, -1)
            means.append(mean)
            precisions.append(F.softplus(raw) * present[modality][:, None])  # 0 where the modality is missing
        weights = torch.stack(precisions)  # [M, B, L]
        precision = 1 + weights.sum(0)  # that of the prior is 1
        return (weights * torch.stack(means)).sum(0) / precision, precision


class RunningMoments(nn.Module):
    """Standardises features by running moments of the rows that have the modality.

    Args:
        dim: D, width of the features.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return standardised features [B, D]."""
        return (x.float() - self.mean) / (self.variance + EPS).sqrt()

    def restore(self, standardised: Tensor) -> Tensor:
        """Return features of which `forward` makes the standardised ones, [B, D]."""
        return standardised.float() * (self.variance + EPS).sqrt() + self.mean

    @torch.no_grad()
    def update(self, x: Tensor, present: Tensor) -> None:
        """Move the moments towards those of a batch; they stay where no row has the modality.

        Args:
            x: features [B, D].
            present: [B] bool.
        """
        count, rows = present.sum(), present[:, None]
        mean = torch.where(rows, x.float(), 0.0).sum(0) / count.clamp(min=1)
        variance = torch.where(rows, x.float() - mean, 0.0).square().sum(0) / count.clamp(min=1)
        step = MOMENTUM * (count > 0)
        self.mean.add_(step * (mean - self.mean))
        self.variance.add_(step * (variance - self.variance))


def _build_mlp(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
