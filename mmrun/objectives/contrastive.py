"""Contrastive pre-training: align the modalities of a row, and keep those of different rows apart."""

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.gather import gather_rows
from mmrun.objectives.key_queue import KeyEncoder, KeyQueue, queue_cross_entropy
from mmrun.objectives.losses import masked_mean
from mmrun.types import Batch, Features, Objective
from mmrun.values import Depth, NonNegativeFloat, NonNegativeInt, PositiveFloat, Share, Width

CompareWithQueue = Callable[[Tensor, Tensor, KeyQueue], Tensor]

MIN_TEMPERATURE = 0.01  # of InfoNCE, so that logits are scaled by 100 at most (Radford et al., 2021)


class Contrastive(Objective):
    """Aligns the encoders: every pair of modalities, through projections that the objective owns.

    Each pair loss names its paper. Negatives are the other rows of the same micro-batch, in training those of all
    processes. So the gradient of a batch depends on its split into micro-batches, which count by their rows that have
    both modalities of a pair.

    With a `queue`, each row is compared with its own key and the last keys of earlier steps instead (MoCo: He et al.,
    2020; between modalities as in ALBEF: Li et al., 2021). Moving averages of encoder and projection compute the keys.
    Without batch norms, the gradient is then the same however a batch is split. The queue should be shorter than the
    training set, else it holds earlier keys of the batch's own rows.

    Args:
        pair_loss: builds the loss of one pair of modalities: (a [B, D], b [B, D], paired [B] bool) -> scalar.
        kinds: kind of each modality that the stage reads; two at least.
        dims: width of the features of each encoder.
        dim: D, width of the projections.
        num_layers: of each projection, with GELU in between.
        normalize: bring the projections to length 1.
        queue: number of keys that are kept of each modality; 0: negatives are those of the micro-batch.
        queue_decay: of the averages that compute the keys, per step.
        model: whose encoders the averages start from; a queue needs it.

    Raises:
        ConfigError: the stage reads a single modality, a projection has no layer, or the pair loss has no negatives
            that a queue could hold.
    """

    def __init__(
        self,
        pair_loss: Callable[[], Any],
        kinds: Mapping[str, str],
        dims: Mapping[str, int],
        dim: Width = 128,
        num_layers: Depth = 1,
        normalize: bool = True,
        queue: NonNegativeInt = 0,
        queue_decay: Share = 0.99,
        model: Multimodal | None = None,
    ) -> None:
        super().__init__()
        if len(kinds) < 2:
            raise ConfigError(
                f"objective: contrastive learning needs two modalities, and this stage reads only {', '.join(kinds)}"
            )
        self.normalize = normalize
        self.project = nn.ModuleDict()
        for modality in kinds:
            self.project[modality] = _build_projection(dims[modality], dim, num_layers)
        self._modalities = {f"{a}-{b}": (a, b) for a, b in combinations(kinds, 2)}  # of each pair
        self.pair = nn.ModuleDict({name: pair_loss() for name in self._modalities})
        keys = nn.ModuleDict()
        if queue > 0:
            assert model is not None
            self._check_queue()
            for modality, project in self.project.items():
                keys[modality] = KeyEncoder(model.encoder[modality], project, queue, dim, queue_decay)
        self.keys = cast(Mapping[str, KeyEncoder], keys)

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """Return which rows have both modalities of each pair; see `Objective.masks`."""
        return {name: batch.present[a] & batch.present[b] for name, (a, b) in self._modalities.items()}

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over the pairs, and the loss of each.

        Args:
            model: to be trained.
            batch: targets are not used.

        Returns:
            loss, loss/<modality>-<modality>.
        """
        return self.align(model.encode({modality: batch.inputs[modality] for modality in self.project}), batch)

    def align(self, features: Mapping[str, Features], batch: Batch) -> dict[str, Tensor]:
        """Return the losses of features that were computed already.

        Args:
            features: by modality.
            batch: presence and weights are used.

        Returns:
            loss, loss/<modality>-<modality>.
        """
        projected = {}
        for modality, project in self.project.items():
            vectors = project(features[modality].pooled).float()
            projected[modality] = F.normalize(vectors, dim=-1) if self.normalize else vectors
        compare = self._compare_with_queues if self.keys else self._compare_in_batch
        losses = compare(projected, batch)
        parts = {f"loss/{name}": batch.weigh(loss, name) for name, loss in losses.items()}
        return {"loss": torch.stack(list(parts.values())).mean(), **parts}

    def _compare_in_batch(self, projected: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the loss of each pair, whose negatives are the other rows."""
        paired = self.masks(batch)
        if self.training:  # evaluation batches may differ in size between processes
            projected = {modality: gather_rows(vectors) for modality, vectors in projected.items()}
            paired = {name: gather_rows(rows) for name, rows in paired.items()}
        losses = {}
        with torch.autocast(batch.index.device.type, enabled=False):  # similarities are scaled up: bf16 is too coarse
            for name, pair in self.pair.items():
                a, b = self._modalities[name]
                losses[name] = pair(projected[a], projected[b], paired[name])
        return losses

    def _compare_with_queues(self, projected: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the loss of each pair, the mean of both directions, whose negatives are the keys of the queues."""
        keys = {modality: key(batch.inputs[modality], batch.present[modality]) for modality, key in self.keys.items()}
        losses, paired = {}, self.masks(batch)
        with torch.autocast(batch.index.device.type, enabled=False):
            for name, pair in self.pair.items():
                compare = cast(CompareWithQueue, pair.compare_with_queue)
                a, b = self._modalities[name]
                rows = compare(projected[a], keys[b], self.keys[b].queue)
                rows = rows + compare(projected[b], keys[a], self.keys[a].queue)
                losses[name] = masked_mean(rows, paired[name]) / 2
        return losses

    def on_step_end(self, model: nn.Module) -> None:
        """Keep learned temperatures in their range, as CLIP does after each step, and move what computes keys."""
        assert isinstance(model, Multimodal)
        for pair in self.pair.values():
            if isinstance(pair, InfoNCE):
                pair.clamp_temperature()
        for modality, key in self.keys.items():
            key.update(model.encoder[modality], self.project[modality])

    def _check_queue(self) -> None:
        """Reject a queue that the pair loss cannot use."""
        pair = next(iter(self.pair.values()))
        if not hasattr(pair, "compare_with_queue"):
            raise ConfigError(f"objective.queue: {type(pair).__name__} has no negatives; set queue to 0")
        if not self.normalize:
            raise ConfigError("objective.queue: its keys have length 1; set normalize to true, or queue to 0")


class InfoNCE(nn.Module):
    """Symmetric InfoNCE: each row identifies its counterpart among all rows (CLIP: Radford et al., 2021).

    Args:
        temperature: initial value; it is learned, and stays at MIN_TEMPERATURE or above.

    Raises:
        ConfigError: the temperature is below MIN_TEMPERATURE.
    """

    def __init__(self, temperature: PositiveFloat = 0.07) -> None:
        super().__init__()
        if temperature < MIN_TEMPERATURE:
            raise ConfigError(
                f"objective.pair_loss.temperature: {temperature} is below {MIN_TEMPERATURE}, the lowest it may learn"
            )
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]))

    def forward(self, a: Tensor, b: Tensor, paired: Tensor) -> Tensor:
        """Return the mean cross-entropy over the rows that have both modalities.

        Args:
            a: projections of one modality [B, D].
            b: projections of the other [B, D].
            paired: [B] bool, rows that have both.
        """
        logits = self.log_scale.exp() * a @ b.T  # [B, B]
        rows = diagonal_cross_entropy(logits, paired) + diagonal_cross_entropy(logits.T, paired)
        return rows.where(paired, 0).sum() / (2 * paired.sum().clamp(min=1))

    def compare_with_queue(self, queries: Tensor, keys: Tensor, queue: KeyQueue) -> Tensor:
        """Return the cross-entropy of identifying each query's key among those of the queue, [B].

        Args:
            queries: projections of one modality [B, D].
            keys: of the same rows in the other modality [B, D].
            queue: of the other modality.
        """
        return queue_cross_entropy(queries, keys, queue, self.log_scale.exp())

    @torch.no_grad()
    def clamp_temperature(self) -> None:
        """Bring the parameter itself back to MIN_TEMPERATURE; clamped in `forward`, it would have no gradient there."""
        self.log_scale.clamp_(max=-math.log(MIN_TEMPERATURE))


class PairwiseSigmoid(nn.Module):
    """The sigmoid loss: each pair of rows is classified by itself as matching or not (SigLIP: Zhai et al., 2023).

    Args:
        temperature: initial value; it is learned.
        bias: initial value of the logits' bias; it is learned.
    """

    def __init__(self, temperature: PositiveFloat = 0.1, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)]))
        self.bias = nn.Parameter(torch.tensor([float(bias)]))

    def forward(self, a: Tensor, b: Tensor, paired: Tensor) -> Tensor:
        """Return the sum over a row's pairs, averaged over the rows that have both modalities.

        Args:
            a: projections of one modality [B, D].
            b: projections of the other [B, D].
            paired: [B] bool, rows that have both.
        """
        logits = self.log_scale.exp() * a @ b.T + self.bias  # [B, B]
        sign = 2 * torch.eye(len(a), device=a.device) - 1
        pairs = F.softplus(-sign * logits) * (paired & paired.unsqueeze(1))
        return pairs.sum() / paired.sum().clamp(min=1)

    def compare_with_queue(self, queries: Tensor, keys: Tensor, queue: KeyQueue) -> Tensor:
        """Return the sum over each query's pairs with its key, which matches, and those of the queue, [B].

        Args:
            queries: projections of one modality [B, D].
            keys: of the same rows in the other modality [B, D].
            queue: of the other modality.
        """
        scale = self.log_scale.exp()
        positive = scale * (queries * keys).sum(-1) + self.bias
        negatives = scale * queries @ queue.keys.T + self.bias
        return F.softplus(-positive) + (F.softplus(negatives) * queue.usable).sum(1)


class VicReg(nn.Module):
    """Variance-invariance-covariance regularisation (VICReg: Bardes et al., 2022); it needs no negatives.

    Args:
        invariance: weight of the squared distance between the two modalities of a row.
        variance: weight of the hinge that keeps the deviation of every dimension at 1 or above.
        covariance: weight of the squared covariances between dimensions.
    """

    def __init__(
        self, invariance: NonNegativeFloat = 25.0, variance: NonNegativeFloat = 25.0, covariance: NonNegativeFloat = 1.0
    ) -> None:
        super().__init__()
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, a: Tensor, b: Tensor, paired: Tensor) -> Tensor:
        """Return the weighted sum of the three terms over the rows that have both modalities.

        With fewer than two such rows, variance and covariance are undefined and count 0.

        Args:
            a: projections of one modality [B, D].
            b: projections of the other [B, D].
            paired: [B] bool, rows that have both.
        """
        mask = paired.unsqueeze(1)
        count = paired.sum()
        invariance = (a - b).square().where(mask, 0).mean(1).sum() / count.clamp(min=1)
        variance_loss, covariance_loss = a.new_zeros(()), a.new_zeros(())
        for x in (a, b):
            mean = x.where(mask, 0).sum(0) / count.clamp(min=1)
            centred = (x - mean).where(mask, 0)
            covariance = centred.T @ centred / (count - 1).clamp(min=1)  # [D, D]
            variance = covariance.diagonal()
            variance_loss = variance_loss + F.relu(1 - (variance + 1e-4).sqrt()).mean() / 2
            covariance_loss = covariance_loss + (covariance.square().sum() - variance.square().sum()) / len(variance)
        regularisation = self.variance * variance_loss + self.covariance * covariance_loss
        return self.invariance * invariance + regularisation * (count > 1)


def diagonal_cross_entropy(logits: Tensor, present: Tensor) -> Tensor:
    """Return the cross-entropy of each row of a similarity matrix with its own column as the class.

    Args:
        logits: [B, B].
        present: [B] bool; a row that is not present is no negative of the others.

    Returns:
        [B].
    """
    rows = torch.arange(len(logits), device=logits.device)
    excluded = ~present & (rows != rows.unsqueeze(1))
    return F.cross_entropy(logits.masked_fill(excluded, torch.finfo(logits.dtype).min), rows, reduction="none")


def _build_projection(in_dim: int, dim: int, num_layers: int) -> nn.Module:
    """Build a linear layer, or several with GELU in between."""
    if num_layers < 1:
        raise ConfigError(f"objective.num_layers: {num_layers} is below 1; a projection needs at least one layer")
    hidden: list[nn.Module] = []
    for _ in range(num_layers - 1):
        hidden += [nn.Linear(in_dim, dim), nn.GELU()]
        in_dim = dim
    last = nn.Linear(in_dim, dim, bias=False)
    return nn.Sequential(*hidden, last) if hidden else last
