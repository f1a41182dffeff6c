"""Learn the tasks themselves: through all modalities together, or through each encoder alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError, nearest
from mmrun.head import FUSED, Head
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.losses import losses_of, one_of, summed
from mmrun.tasks.regression import Regression
from mmrun.types import IGNORE_INDEX, Batch, Features, Input, Objective
from mmrun.types import Task as AnyTask

PENALTIES = {
    "l2": lambda fused: fused.square().mean(),
    "l1": lambda fused: fused.abs().mean(),
    "variance": lambda fused: fused.var(0, correction=0).mean(),
}


class ModelOutputs(NamedTuple):
    """What a model says of some rows."""

    heads: dict[Head, dict[str, Tensor]]  # by head and task, [B, C]
    fused: Tensor | None = None  # [B, D]


class Supervised(Objective):
    """Learns from targets, in three phases, so that what wraps it can change what lies between them."""

    encode: Callable[[Multimodal, Mapping[str, Input]], dict[str, Features]]
    predict: Callable[[Multimodal, dict[str, Features], dict[str, Tensor]], ModelOutputs]  # given what is present
    compute_losses: Callable[
        [ModelOutputs, dict[str, Tensor], dict[str, Tensor]], dict[str, Tensor]
    ]  # present, targets -> the losses

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts."""
        outputs = self.predict(model, self.encode(model, batch.inputs), batch.present)
        return self.compute_losses(outputs, batch.present, batch.targets)


class Task(Supervised):
    """The tasks from all modalities together: the weighted sum of their losses.

    `weighting`: fixed, or by a noise that is learned for each task (uncertainty: Kendall et al., 2018), on top of the
    fixed weights. `unimodal_weight`: what the losses of each encoder's probe count beside (deep supervision;
    Wang et al., 2020), one number or one a modality. `penalty`: on the fused vector, l1 | l2 | variance.
    """

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        kinds: Iterable[str] = (),
        weights: Mapping[str, float] | None = None,
        weighting: str = "fixed",
        loss: Mapping[str, str] | None = None,
        gamma: float = 2.0,
        delta: float = 1.0,
        label_smoothing: float = 0.0,
        class_balanced: bool = False,
        unimodal_weight: float | Mapping[str, float] = 0.0,
        penalty: str | None = None,
        penalty_weight: float = 0.01,
    ) -> None:
        super().__init__()
        _check_names("objective.weights", "task", weights or {}, tasks)
        one_of("objective.weighting", weighting, ("fixed", "uncertainty"))
        if penalty is not None:
            one_of("objective.penalty", penalty, tuple(PENALTIES))
        self.weights = {**dict.fromkeys(tasks, 1.0), **(weights or {})}
        self.losses = losses_of(tasks, loss, gamma, delta, label_smoothing, class_balanced)
        self.unimodal_weight = _by_modality(unimodal_weight, list(kinds))
        self.penalty, self.penalty_weight = penalty, penalty_weight
        self.uncertainty = Uncertainty(tasks) if weighting == "uncertainty" else None

    def encode(self, model: Multimodal, inputs: Mapping[str, Input]) -> dict[str, Features]:
        """Encode every modality."""
        return model.encode(inputs)

    def predict(self, model: Multimodal, features: dict[str, Features], present: dict[str, Tensor]) -> ModelOutputs:
        """Answer by the heads, and by the probes that count."""
        fused = model.fusion(features, present)
        heads = {FUSED: model.head_outputs(fused)}
        for modality in self.unimodal_weight:
            heads[Head(modality)] = model.probe_outputs(modality, features[modality].pooled)
        return ModelOutputs(heads, fused)

    def compute_losses(
        self, outputs: ModelOutputs, present: dict[str, Tensor], targets: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the loss and its parts: loss/<task>, loss/probe.<modality>, loss/penalty."""
        fused = outputs.fused
        by_task = outputs.heads[FUSED]
        parts = {name: loss(by_task[name], targets[name]) for name, loss in self.losses.items()}
        weighed = [part if self.weights[name] == 1 else self.weights[name] * part for name, part in parts.items()]
        if self.uncertainty is not None:
            weighed = self.uncertainty(dict(zip(parts, weighed, strict=True)))
        for modality, weight in self.unimodal_weight.items():
            each = _alone(outputs, modality, present, targets, self.losses)
            parts[f"probe.{modality}"] = summed(each)
            weighed.append(weight * parts[f"probe.{modality}"])
        if self.penalty is not None and fused is not None:
            parts["penalty"] = PENALTIES[self.penalty](fused.float())
            weighed.append(self.penalty_weight * parts["penalty"])
        return {"loss": summed(weighed), **{f"loss/{name}": part for name, part in parts.items()}}


class Uncertainty(nn.Module):
    """Weighs the losses of several tasks by the noise that each is taken to have (Kendall et al., 2018).

    With s the logarithm of its variance, a task counts exp(-s) loss + s / 2; a regression half of the first term.
    """

    def __init__(self, tasks: Mapping[str, AnyTask]) -> None:
        super().__init__()
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(1)) for name in tasks})
        self.factor = {name: 0.5 if isinstance(task, Regression) else 1.0 for name, task in tasks.items()}

    def forward(self, losses: dict[str, Tensor]) -> list[Tensor]:
        """Weigh each loss."""
        noise = {name: self.log_variance[name].squeeze(0) for name in losses}
        return [self.factor[name] * (-noise[name]).exp() * loss + noise[name] / 2 for name, loss in losses.items()]


class Probe(Supervised):
    """The tasks from each modality alone, through its encoder and `probe.<modality>`: unimodal training."""

    def __init__(
        self,
        tasks: Mapping[str, AnyTask],
        kinds: Iterable[str],
        modalities: Sequence[str] | None = None,
        loss: Mapping[str, str] | None = None,
        gamma: float = 2.0,
        delta: float = 1.0,
        label_smoothing: float = 0.0,
        class_balanced: bool = False,
    ) -> None:
        super().__init__()
        known = list(kinds)
        _check_names("objective.modalities", "modality", modalities or (), known)
        self.modalities = known if modalities is None else list(modalities)
        self.losses = losses_of(tasks, loss, gamma, delta, label_smoothing, class_balanced)

    def encode(self, model: Multimodal, inputs: Mapping[str, Input]) -> dict[str, Features]:
        """Encode the modalities in question."""
        return model.encode({modality: inputs[modality] for modality in self.modalities})

    def predict(self, model: Multimodal, features: dict[str, Features], present: dict[str, Tensor]) -> ModelOutputs:
        """Answer by each modality's probe."""
        heads = {}
        for modality in self.modalities:
            heads[Head(modality)] = model.probe_outputs(modality, features[modality].pooled)
        return ModelOutputs(heads)

    def compute_losses(
        self, outputs: ModelOutputs, present: dict[str, Tensor], targets: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the loss and its parts, loss/<modality>. Rows that lack a modality do not count for it."""
        parts = {}
        for modality in self.modalities:
            parts[modality] = summed(_alone(outputs, modality, present, targets, self.losses))
        total = summed(parts.values())
        return {"loss": total, **{f"loss/{modality}": part for modality, part in parts.items()}}


def _alone(
    outputs: ModelOutputs,
    modality: str,
    present: dict[str, Tensor],
    targets: dict[str, Tensor],
    losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]],
) -> list[Tensor]:
    """Return the loss of each task by one modality's probe, over the rows that have the modality."""
    by_task, here = outputs.heads[Head(modality)], present[modality]
    return [loss(by_task[name], hide(targets[name], here)) for name, loss in losses.items()]


def hide(target: Tensor, present: Tensor) -> Tensor:  # [B, ...], [B]
    """Hide the targets of rows that are not present."""
    hidden = float("nan") if target.is_floating_point() else IGNORE_INDEX
    return target.masked_fill(~present.view(-1, *[1] * (target.dim() - 1)), hidden)


def _by_modality(unimodal_weight: float | Mapping[str, float], kinds: list[str]) -> dict[str, float]:
    """Return the weight of each probe that counts."""
    if not isinstance(unimodal_weight, Mapping):
        return dict.fromkeys(kinds, unimodal_weight) if unimodal_weight > 0 else {}
    _check_names("objective.unimodal_weight", "modality", unimodal_weight, kinds)
    return {modality: weight for modality, weight in unimodal_weight.items() if weight > 0}


def _check_names(key_path: str, word: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the name of a task or modality that is not there."""
    for name in given:
        if name not in known:
            there = ", ".join(known)
            raise ConfigError(f"{key_path}.{name}: no such {word}{nearest(name, known)} (there are {there})")
