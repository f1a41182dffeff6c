"""OGM-GE and AGM: scale the gradients of the encoders by how well each modality does alone."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.step_mean import StepMean
from mmrun.objectives.balance.unimodal import (
    Probes,
    average_others,
    average_over_processes,
    compute_discrepancy_ratio,
    compute_losses_and_features,
    compute_task_loss,
    eval_mode,
    get_pooled,
    has_visible_target,
    modify_gradients,
)
from mmrun.objectives.losses import has_true_classes, score_truth, sum_losses
from mmrun.types import Batch, Features, Objective, Task
from mmrun.values import NonNegativeFloat, NonNegativeInt, PositiveInt


class OgmGe(Objective):
    """On-the-fly gradient modulation with generalisation enhancement (OGM-GE: Peng et al., 2022).

    A modality's score is the mean probability of the true class by a probe on its encoder, which gets no gradient from
    it; its discrepancy ratio is the score over the mean of the others'. Where the ratio is above 1, the encoder's
    gradient is multiplied by 1 - tanh(alpha * ratio). Noise with the gradient's own deviation is added in all encoders.

    The authors' code adds noise to convolutions alone; here it is added to all parameters, since other encoders have no
    convolutions. Its scores are those of each modality's part of a linear fusion; a probe scores with any fusion.

    Args:
        objective: to wrap.
        tasks: the tasks by name, of which those with classes or labels are scored.
        kinds: the modalities that the stage reads.
        dims: width of the features of each encoder.
        alpha: strength of the modulation; 0: none.
        noise: add the noise, the generalisation enhancement.
        modulation_starts: first step of the stage in which gradients are changed.
        modulation_ends: step from which on they are not changed any more; None: they are until the stage ends. The
            authors stop after half of the epochs.

    Raises:
        ConfigError: no task has classes or labels, `alpha` is below 0, or modulation ends before it starts.
    """

    step: Tensor

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        alpha: NonNegativeFloat = 0.1,
        noise: bool = True,
        modulation_starts: NonNegativeInt = 0,
        modulation_ends: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        scored = {name: task for name, task in tasks.items() if has_true_classes(task)}
        if not scored:
            raise ConfigError(
                f"balance: ogm_ge compares probabilities, and no task has classes or labels (there are "
                f"{', '.join(tasks)}); choose agm, gradient_blending, lfm, pcgrad, mmpareto or umt"
            )
        if alpha < 0:
            raise ConfigError(f"balance.alpha: {alpha} is below 0")
        if modulation_ends is not None and modulation_ends <= modulation_starts:
            raise ConfigError(
                f"balance.modulation_ends: {modulation_ends} is not above modulation_starts ({modulation_starts}); "
                "set it higher, or to null"
            )
        self.objective = objective
        self.modalities = list(kinds)
        self.probes = Probes(scored, self.modalities, dims)
        self.alpha, self.noise = alpha, noise
        self.modulation_starts = modulation_starts
        self.modulation_ends = float("inf") if modulation_ends is None else modulation_ends
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.factors: dict[str, Tensor] = {}  # of this batch, for `backward`
        self.noise_scale = torch.zeros(())  # likewise

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, and those of the probes.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with their sum as loss, and loss/alone/<modality>.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        losses, features = compute_losses_and_features(self.objective, model, batch, self.modalities)
        outputs = self.probes({m: vector.detach() for m, vector in get_pooled(features).items()})
        alone = self.probes.losses(outputs, batch)
        scores = torch.stack([self._sum_scores(outputs[m], batch, batch.present[m]) for m in self.modalities])
        modulates = (self.step >= self.modulation_starts) & (self.step < self.modulation_ends)
        factors = self.compute_factors(*average_over_processes(scores).unbind(1)).where(modulates, 1.0)
        self.factors = dict(zip(self.modalities, factors.unbind(), strict=True))
        self.noise_scale = modulates.float() * self.noise
        total = losses["loss"] + sum_losses(alone.values())
        return {**losses, "loss": total, **{f"loss/alone/{m}": loss.detach() for m, loss in alone.items()}}

    def on_step_end(self, model: nn.Module) -> None:
        """Count the step."""
        self.step += 1

    def _sum_scores(self, outputs: Mapping[str, Tensor], batch: Batch, present: Tensor) -> Tensor:  # [2]
        """Return the sum of the true classes' probabilities over the present rows, and the number of these rows."""
        sums = []
        for name, task in self.probes.tasks.items():
            truth, visible = score_truth(task, outputs[name].detach(), batch.targets[name])
            counted = visible & present
            sums.append(torch.stack([(truth * counted).sum(), counted.sum().float()]))
        return torch.stack(sums).sum(0)

    def compute_factors(self, total: Tensor, number: Tensor) -> Tensor:
        """Return the factor on each encoder's gradient, [M].

        Args:
            total: sum of the scores of each modality [M].
            number: of rows in it [M].
        """
        ratio = compute_discrepancy_ratio(total / number.clamp(min=1e-6), number > 0)
        return torch.where(ratio > 1, 1 - torch.tanh(self.alpha * ratio), 1.0)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, those of dominant encoders scaled down; see `Objective.backward`."""
        assert isinstance(model, Multimodal)
        with modify_gradients(model, {m: partial(self._modulate, factor) for m, factor in self.factors.items()}):
            super().backward(model, losses, scale)

    def _modulate(self, factor: Tensor, gradient: Tensor) -> Tensor:
        """Return the scaled gradient, with noise."""
        scaled = gradient * factor
        if self.noise and gradient.numel() > 0:
            scaled = scaled + self.noise_scale * gradient.std(unbiased=False) * torch.randn_like(gradient)
        return scaled


class Agm(Objective):
    """Adaptive gradient modulation (AGM: Li et al., 2023).

    A modality's response is half the change of the output when it is left out, plus half the output of it alone; with
    two modalities these are Shapley values. s is the loss of that response, r = exp(mean s of the others - own s), and
    tau the same of the mean s of earlier steps: how far ahead a modality usually is. The encoder's gradient is
    multiplied by exp(alpha * min(tau - r, 10)). With decision-level fusions that scales the responses' gradients, as in
    the paper; in other fusions no path belongs to one response alone.

    Args:
        objective: to wrap.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        alpha: strength of the modulation; 0: none.

    Raises:
        ConfigError: `alpha` is below 0.
    """

    mean: Tensor
    number: Tensor

    def __init__(
        self, objective: Objective, tasks: Mapping[str, Task], kinds: Iterable[str], alpha: NonNegativeFloat = 1.0
    ) -> None:
        super().__init__()
        if alpha < 0:
            raise ConfigError(f"balance.alpha: {alpha} is below 0")
        self.objective, self.tasks, self.alpha = objective, dict(tasks), alpha
        self.modalities = list(kinds)
        self.step_mean = StepMean((len(self.modalities),), (len(self.modalities),))
        self.register_buffer("mean", torch.zeros(len(self.modalities)))  # of s, over the steps so far
        self.register_buffer("number", torch.zeros(len(self.modalities)))  # of these steps
        self.factors: dict[str, Tensor] = {}  # of this batch, for `backward`

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective.

        Args:
            model: to be trained.
            batch: inputs and targets.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        losses, features = compute_losses_and_features(self.objective, model, batch, self.modalities)
        with torch.no_grad(), eval_mode(model.fusion, model.head):
            response_losses = self._compute_response_losses(model, features, batch)
        counted = torch.stack([has_visible_target(self.tasks, batch, batch.present[m]) for m in self.modalities])
        sums = average_over_processes(torch.stack([response_losses * counted, counted.float()]))
        self.step_mean.add(*sums.unbind())
        factors = self.compute_factors(sums[0] / sums[1].clamp(min=1e-6), sums[1] > 0)
        self.factors = dict(zip(self.modalities, factors.unbind(), strict=True))
        return losses

    def _compute_response_losses(self, model: Multimodal, features: Mapping[str, Features], batch: Batch) -> Tensor:
        """Return s, the loss of each modality's response, [M]."""
        present = {m: batch.present[m] for m in self.modalities}
        absent = {m: torch.zeros_like(rows) for m, rows in present.items()}

        def predict(present_: dict[str, Tensor]) -> dict[str, Tensor]:
            outputs = model.forward_head(model.fusion(features, present_))
            return {task: output.float() for task, output in outputs.items()}

        joint = predict(present)
        losses = []
        for m in self.modalities:
            without, alone = predict({**present, m: absent[m]}), predict({**absent, m: present[m]})
            response = {task: (joint[task] - without[task] + alone[task]) / 2 for task in self.tasks}
            losses.append(compute_task_loss(self.tasks, response, batch, present[m]))
        return torch.stack(losses)

    def compute_factors(self, response_losses: Tensor, counted: Tensor) -> Tensor:
        """Return the factor on each encoder's gradient, [M].

        Args:
            response_losses: s of each modality [M].
            counted: [M] bool, modalities that have one.
        """
        others, defined = average_others(response_losses, counted)
        others_mean, is_known = average_others(self.mean, self.number > 0)
        usual = (others_mean - self.mean).where(is_known, 0.0)
        gap = usual.exp() - (others - response_losses).exp()
        return torch.where(defined, (self.alpha * gap.clamp(max=10)).exp(), 1.0)

    def on_step_end(self, model: nn.Module) -> None:
        """Update the running means with the responses of the step."""
        self.update(*self.step_mean.pop())

    def update(self, response_losses: Tensor, counted: Tensor) -> None:
        """Update the running means.

        Args:
            response_losses: s of each modality [M].
            counted: [M] bool, modalities that have one.
        """
        self.number += counted
        self.mean += torch.where(counted, (response_losses - self.mean) / self.number.clamp(min=1), 0.0)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients, those of the encoders multiplied by their factors; see `Objective.backward`."""
        assert isinstance(model, Multimodal)
        with modify_gradients(model, {m: partial(torch.mul, factor) for m, factor in self.factors.items()}):
            super().backward(model, losses, scale)
