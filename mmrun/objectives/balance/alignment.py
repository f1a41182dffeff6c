"""LFM: the task losses mixed with a contrastive alignment of the modalities."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.held_out import check_needs_targets, hide_held_out, select_held_out
from mmrun.objectives.balance.step_mean import StepMean
from mmrun.objectives.balance.unimodal import (
    average_over_processes,
    compute_losses_and_features,
    eval_mode,
    separate_gradients,
)
from mmrun.objectives.contrastive import Contrastive, InfoNCE
from mmrun.objectives.losses import sum_losses
from mmrun.types import Batch, Features, Objective, Task
from mmrun.values import NonNegativeFloat, OpenShare, PositiveInt, Share, Width

MIN_ALPHA, MAX_ALPHA = 0.05, 0.95  # neither loss is ever switched off


class Lfm(Objective):
    """LFM (Yang, Wan, Jiang & Xu, 2024): learn the gap between modalities dynamically; heuristic integration.

    The loss is (1 - alpha) * loss of the wrapped objective + alpha * InfoNCE between the encoders, through projections.
    Labels that one modality fits sooner than another are what unbalances them; alignment, which needs no labels, comes
    first: alpha = exp(-step / decay_steps), within 0.05..0.95. The authors count epochs.

    Args:
        objective: to wrap; its loss is the classification loss.
        kinds: the modalities that the stage reads.
        dims: width of the features of each encoder.
        dim: width of the projections that are aligned.
        decay_steps: after which alpha has fallen by the factor e.
    """

    step: Tensor

    def __init__(
        self,
        objective: Objective,
        kinds: Mapping[str, str],
        dims: Mapping[str, int],
        dim: Width = 128,
        decay_steps: PositiveInt = 100,
    ) -> None:
        super().__init__()
        self.objective, self.decay_steps = objective, decay_steps
        self.contrast = Contrastive(InfoNCE, kinds, dims, dim)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the mixture of the wrapped objective's loss and the alignment.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with the mixture as loss, and loss/alignment.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        losses, features = compute_losses_and_features(self.objective, model, batch, list(self.contrast.project))
        alignment = self.contrast.align(features, batch)["loss"]
        alpha = self.compute_alpha()
        return {**losses, "loss": torch.lerp(losses["loss"], alignment, alpha), "loss/alignment": alignment}

    def compute_alpha(self) -> Tensor:
        """Return the weight of the alignment in this step, a scalar."""
        return (-self.step / self.decay_steps).exp().clamp(MIN_ALPHA, MAX_ALPHA)

    def on_step_end(self, model: nn.Module) -> None:
        """Count the step."""
        self.step += 1


class LfmLearned(Objective):
    """LFM (Yang, Wan, Jiang & Xu, 2024) with alpha learned by bi-level optimisation, on held-out rows.

    As `Lfm`, but alpha is what lowers the task losses of held-out rows: after a gradient step of the mixture their
    derivative by alpha is in proportion to -<g_held_out, g_alignment - g_task>, the gradients of the model. Each step
    adds `alpha_lr` times the cosine of the two sides to alpha, which stays within 0.05..0.95. The authors descend an
    average of second derivatives, once an epoch.

    Args:
        objective: to wrap; its loss is the classification loss.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        dims: width of the features of each encoder.
        hold_out_rows: returns which rows of the data set are held out [N] bool, given their share.
        dim: width of the projections that are aligned.
        initial_alpha: weight of the alignment at first.
        alpha_lr: largest change of alpha per step.
        held_out: share of the labelled rows, stratified, that is held out.

    Raises:
        ConfigError: no row can be held out, or the wrapped objective learns from rows without targets, and so from
            those that are held out.
    """

    is_held_out: Tensor
    alpha: Tensor

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Mapping[str, str],
        dims: Mapping[str, int],
        hold_out_rows: Callable[[float], Tensor],
        dim: Width = 128,
        initial_alpha: Share = 0.5,
        alpha_lr: NonNegativeFloat = 0.01,
        held_out: OpenShare = 0.1,
    ) -> None:
        super().__init__()
        check_needs_targets("lfm_learned", objective)
        self.objective, self.tasks, self.alpha_lr = objective, dict(tasks), alpha_lr
        self.contrast = Contrastive(InfoNCE, kinds, dims, dim)
        self.register_buffer("is_held_out", hold_out_rows(held_out), persistent=False)  # [N], by row of the data set
        self.register_buffer("alpha", torch.tensor(initial_alpha).clamp(MIN_ALPHA, MAX_ALPHA))
        self.step_mean = StepMean((), ())

    def prepare(self, batch: Batch) -> Batch:
        """Hide the targets of held-out rows, and keep them under other names; see `Objective.prepare`."""
        return hide_held_out(batch, self.is_held_out)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the mixture of the wrapped objective's loss and the alignment, and the loss of held-out rows.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with the mixture as loss, loss/task_losses, loss/alignment and
            loss/held_out.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        if batch.weights is None:
            batch = self.prepare(batch)
        losses, features = compute_losses_and_features(self.objective, model, batch, list(self.contrast.project))
        alignment = self.contrast.align(features, batch)["loss"]
        parts = {
            "loss/task_losses": losses["loss"],
            "loss/alignment": alignment,
            "loss/held_out": self._compute_held_out_loss(model, features, batch),
        }
        return {**losses, "loss": torch.lerp(losses["loss"], alignment, self.alpha.clone()), **parts}

    def _compute_held_out_loss(self, model: Multimodal, features: dict[str, Features], batch: Batch) -> Tensor:
        """Return the task losses of the held-out rows."""
        held_out = select_held_out(batch, self.tasks)
        with eval_mode(model.fusion, model.head):
            outputs = model.forward_head(model.fusion(features, {m: batch.present[m] for m in features}))
        losses = []
        for name, task in self.tasks.items():
            losses.append(held_out.weigh(task.loss(outputs[name], held_out.targets[name]), name))
        return sum_losses(losses)

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients of the mixture, and collect what changes alpha; see `Objective.backward`."""
        assert isinstance(model, Multimodal)
        parts = [losses["loss/task_losses"], losses["loss/alignment"], losses["loss/held_out"]]
        gradients = separate_gradients(model, self, parts, scale)
        result = {}
        for parameter, (task, alignment, _) in gradients.items():
            result[parameter] = torch.lerp(task, alignment, self.alpha.to(task.dtype))
        cosine = average_over_processes(compare_gradients(gradients.values()))
        self.step_mean.add(cosine, torch.ones_like(cosine))
        torch.autograd.backward(list(result), list(result.values()))

    @torch.no_grad()
    def on_step_end(self, model: nn.Module) -> None:
        """Change alpha by the mean of the step."""
        cosine, is_counted = self.step_mean.pop()
        self.alpha += torch.where(is_counted, self.alpha_lr * cosine, 0.0)
        self.alpha.clamp_(MIN_ALPHA, MAX_ALPHA)


def compare_gradients(gradients: Iterable[list[Tensor]]) -> Tensor:
    """Return the cosine between the gradient of held-out rows and what alignment has over the task losses.

    Args:
        gradients: by parameter, of the task losses, the alignment and the held-out rows.

    Returns:
        A scalar; 0 where one of the two is 0.
    """
    sums = []
    for task, alignment, held_out in gradients:
        difference = alignment.float() - task.float()
        reference = held_out.float()
        sums.append(torch.stack([(difference * reference).sum(), difference.square().sum(), reference.square().sum()]))
    product, first, second = torch.stack(sums).sum(0).unbind()
    return product / (first.sqrt() * second.sqrt()).clamp(min=1e-12)
