"""Gradients of the encoders made smaller or larger, by how well each modality does alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import (
    Probes,
    known,
    lead,
    mean_of_others,
    modulated,
    over_processes,
    pooled,
    task_loss,
    with_features,
)
from mmrun.objectives.losses import summed
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import IGNORE_INDEX, Batch, Features, Objective, Task


class OgmGe(Objective):
    """On-the-fly gradient modulation with generalisation enhancement (Peng et al., 2022).

    A modality's score is the mean probability that a probe of its own, on its encoder as it is, gives to the truth; its
    lead is the score over the mean of the others'. Where the lead is above 1, the encoder's gradient is multiplied by
    1 - tanh(alpha * lead) and noise of the gradient's own deviation is added; other gradients stay as they are.
    """

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        alpha: float = 0.1,
        noise: bool = True,
    ) -> None:
        super().__init__()
        judged = {name: task for name, task in tasks.items() if isinstance(task, Classification | Multilabel)}
        if not judged:
            raise ConfigError(
                f"balance: ogm_ge compares probabilities, and no task has classes or labels (there are "
                f"{', '.join(tasks)}); choose agm, gradient_blending, pcgrad, mmpareto or umt"
            )
        if alpha < 0:
            raise ConfigError(f"balance.alpha: {alpha} is below 0")
        self.objective = objective
        self.modalities = list(kinds)
        self.probes = Probes(judged, self.modalities, dims)
        self.alpha, self.noise = alpha, noise
        self.factors: dict[str, Tensor] = {}  # of this batch, for `backward`

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and those of the probes."""
        if not self.training:
            return self.objective(model, batch)
        losses, features = with_features(self.objective, model, batch, self.modalities)
        outputs = self.probes({m: vector.detach() for m, vector in pooled(features).items()})
        alone = self.probes.losses(outputs, batch)
        scores = [self._score(outputs[m], batch, batch.present[m]) for m in self.modalities]
        factor = self.factor(*over_processes(torch.stack(scores)).unbind(1))
        self.factors = dict(zip(self.modalities, factor.unbind(), strict=True))
        total = losses["loss"] + summed(alone.values())
        return {**losses, "loss": total, **{f"loss/alone/{m}": loss.detach() for m, loss in alone.items()}}

    def _score(self, outputs: Mapping[str, Tensor], batch: Batch, present: Tensor) -> Tensor:  # [2]
        """Return the sum of the truth's probabilities over the rows that have the modality, and their number."""
        sums = []
        for name, task in self.probes.tasks.items():
            truth, visible = probability_of_truth(task, outputs[name].detach(), batch.targets[name])
            counted = visible & present
            sums.append(torch.stack([(truth * counted).sum(), counted.sum().float()]))
        return torch.stack(sums).sum(0)

    def factor(self, total: Tensor, number: Tensor) -> Tensor:  # sums of scores [M], numbers of rows [M] -> [M]
        """Return the factor on each encoder's gradient."""
        ahead = lead(total / number.clamp(min=1e-6), number > 0)
        return torch.where(ahead > 1, 1 - torch.tanh(self.alpha * ahead), 1.0)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, those of the encoders in the lead made smaller."""
        assert isinstance(model, Multimodal)
        with modulated(model, {m: partial(self._change, factor) for m, factor in self.factors.items()}):
            super().backward(model, losses, scale)

    def _change(self, factor: Tensor, gradient: Tensor) -> Tensor:
        changed = gradient * factor
        if self.noise:
            noise = torch.randn_like(gradient) * gradient.std(unbiased=False)
            changed = changed + noise.where(factor < 1, 0.0)
        return changed


def probability_of_truth(task: Task, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probability of each row's class, or the mean over its labels, and whether it is visible."""
    scores = task.scores(output)  # [B, C]
    if isinstance(task, Classification):
        visible = target != IGNORE_INDEX
        return scores.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1), visible
    shown = ~target.isnan()
    each = torch.where(target > 0.5, scores, 1 - scores) * shown
    return each.sum(1) / shown.sum(1).clamp(min=1), shown.any(1)


class Agm(Objective):
    """Adaptive gradient modulation (Li et al., 2023).

    A modality's own response is half of what the output changes when it is left out, plus half of what it gives alone;
    of two modalities these are their Shapley values. s is the loss of that response, r = exp(mean over the others of
    their s, less its own), and tau the same of the mean s of earlier steps: how far ahead a modality usually is. The
    encoder's gradient is multiplied by exp(alpha * min(tau - r, 10)). With decision-level fusions that scales the
    responses' gradients, as in the paper; other fusions have no path that belongs to one response alone.
    """

    mean: Tensor
    number: Tensor

    def __init__(
        self, objective: Objective, tasks: Mapping[str, Task], kinds: Iterable[str], alpha: float = 1.0
    ) -> None:
        super().__init__()
        if alpha < 0:
            raise ConfigError(f"balance.alpha: {alpha} is below 0")
        self.objective, self.tasks, self.alpha = objective, dict(tasks), alpha
        self.modalities = list(kinds)
        self.register_buffer("mean", torch.zeros(len(self.modalities)))  # of s, over the batches so far
        self.register_buffer("number", torch.zeros(len(self.modalities)))  # of these batches
        self.factors: dict[str, Tensor] = {}  # of this batch, for `backward`

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective."""
        if not self.training:
            return self.objective(model, batch)
        losses, features = with_features(self.objective, model, batch, self.modalities)
        with torch.no_grad(), freeze_eval(model.fusion, model.head):
            surprise = self._surprise(model, features, batch)
        counted = torch.stack([known(self.tasks, batch, batch.present[m]) for m in self.modalities])
        sums = over_processes(torch.stack([surprise * counted, counted.float()]))
        factor = self.factor(sums[0] / sums[1].clamp(min=1e-6), sums[1] > 0)
        self.factors = dict(zip(self.modalities, factor.unbind(), strict=True))
        return losses

    def _surprise(self, model: Multimodal, features: Mapping[str, Features], batch: Batch) -> Tensor:  # [M]
        """Return the loss of each modality's own response."""
        here = {m: batch.present[m] for m in self.modalities}
        absent = {m: torch.zeros_like(there) for m, there in here.items()}

        def predict(present: dict[str, Tensor]) -> dict[str, Tensor]:
            return {
                task: output.float() for task, output in model.head_outputs(model.fusion(features, present)).items()
            }

        whole = predict(here)
        losses = []
        for m in self.modalities:
            without, alone = predict({**here, m: absent[m]}), predict({**absent, m: here[m]})
            response = {task: (whole[task] - without[task] + alone[task]) / 2 for task in self.tasks}
            losses.append(task_loss(self.tasks, response, batch, here[m]))
        return torch.stack(losses)

    def factor(self, surprise: Tensor, counted: Tensor) -> Tensor:  # [M], [M] bool -> [M]
        """Return the factor on each encoder's gradient, and update the running values."""
        others, defined = mean_of_others(surprise, counted)
        usual = mean_of_others(self.mean, torch.ones_like(counted))[0] - self.mean
        gap = usual.exp() - (others - surprise).exp()
        factor = torch.where(defined, (self.alpha * gap.clamp(max=10)).exp(), 1.0)
        self.number += counted
        self.mean += torch.where(counted, (surprise - self.mean) / self.number.clamp(min=1), 0.0)
        return factor

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, those of the encoders multiplied by their factors."""
        assert isinstance(model, Multimodal)
        with modulated(model, {m: partial(torch.mul, factor) for m, factor in self.factors.items()}):
            super().backward(model, losses, scale)


@contextmanager
def freeze_eval(*parts: nn.Module) -> Iterator[None]:
    """Keep parts without random masks, and their statistics as they are, meanwhile."""
    modes = [(module, module.training) for part in parts for module in part.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
