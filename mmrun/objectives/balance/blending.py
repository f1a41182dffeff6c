"""Gradient blending: losses weighted by how well they generalise."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.held_out import check_needs_targets, hide_held_out, select_held_out
from mmrun.objectives.balance.step_mean import StepMean
from mmrun.objectives.balance.unimodal import (
    Probes,
    average_over_processes,
    compute_losses_and_features,
    compute_task_loss,
    eval_mode,
    get_pooled,
    has_visible_target,
)
from mmrun.types import Batch, Objective, Task
from mmrun.values import OpenShare, PositiveInt, Share


class GradientBlending(Objective):
    """Gradient blending, online (Wang et al., 2020): the joint loss and one of each modality alone, reweighted.

    Over each interval a loss generalises by G, the fall of the loss on held-out rows, and overfits by O, the growth of
    the gap between held-out and trained rows. Its weight is G / O^2, at least 0, as a share of the sum. The targets of
    held-out rows are hidden in training.

    The paper estimates weights by training copies of the model, each with one loss, and then trains on all rows. Here a
    single model is trained; its losses are running averages, and held-out rows stay held out. `least` is not of the
    paper: it lets a loss whose weight fell to 0 return.

    Args:
        objective: to wrap; its loss is the joint one.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        dims: width of the features of each encoder.
        hold_out_rows: returns which rows of the data set are held out [N] bool, given their share.
        held_out: share of the labelled rows, stratified, that is held out.
        every: steps of an interval, after which the weights are computed again.
        decay: of the running averages per step, 0..1.
        least: share of the total weight that is always divided equally, 0..1.

    Raises:
        ConfigError: an argument is out of range, no row can be held out, or the wrapped objective learns from rows
            without targets, and so from those that are held out.
    """

    is_held_out: Tensor
    average: Tensor
    number: Tensor
    reference: Tensor
    weight: Tensor
    step: Tensor

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        dims: Mapping[str, int],
        hold_out_rows: Callable[[float], Tensor],
        held_out: OpenShare = 0.1,
        every: PositiveInt = 100,
        decay: Share = 0.98,
        least: Share = 0.1,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ConfigError(f"balance.every: {every} is below 1; it is a number of steps")
        for key, share in (("decay", decay), ("least", least)):
            if not 0 <= share <= 1:
                raise ConfigError(f"balance.{key}: {share} is not between 0 and 1")
        check_needs_targets("gradient_blending", objective)
        self.objective, self.tasks = objective, dict(tasks)
        self.probes = Probes(tasks, kinds, dims)
        self.every, self.decay, self.least = every, decay, least
        self.register_buffer("is_held_out", hold_out_rows(held_out), persistent=False)  # [N], by row of the data set
        num_losses = 1 + len(self.probes.linear)  # K; the joint one first
        self.step_mean = StepMean((2, num_losses), (2, num_losses))
        self.register_buffer("average", torch.zeros(2, num_losses))  # of trained and of held-out rows
        self.register_buffer("number", torch.zeros(2, num_losses))  # of steps in the average
        self.register_buffer("reference", torch.zeros(2, num_losses))  # the averages when the interval began
        self.register_buffer("weight", torch.full((num_losses,), 1 / num_losses))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def prepare(self, batch: Batch) -> Batch:
        """Hide the targets of held-out rows, and keep them under other names; see `Objective.prepare`."""
        return hide_held_out(batch, self.is_held_out)

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted sum of the wrapped objective's loss and those of each modality alone.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective, with the sum as loss, and loss/joint, loss/alone/<modality>.
        """
        if not self.training:
            validation_losses: dict[str, Tensor] = self.objective(model, batch)
            return validation_losses
        if batch.weights is None:
            batch = self.prepare(batch)
        modalities = list(self.probes.linear)
        losses, features = compute_losses_and_features(self.objective, model, batch, modalities)
        outputs = self.probes(get_pooled(features))
        alone = torch.stack(list(self.probes.losses(outputs, batch).values()))
        total = (self.weight.clone() * torch.cat([losses["loss"].view(1), alone])).sum()
        with torch.no_grad(), eval_mode(model.fusion, model.head):
            joint = model.forward_head(model.fusion(features, {m: batch.present[m] for m in features}))
            self._collect_losses({"joint": joint, **outputs}, batch)
        parts = {f"loss/alone/{m}": loss.detach() for m, loss in zip(modalities, alone, strict=True)}
        return {**losses, "loss": total, "loss/joint": losses["loss"].detach(), **parts}

    def _collect_losses(self, outputs: Mapping[str, Mapping[str, Tensor]], batch: Batch) -> None:
        """Collect the losses of trained and held-out rows; `outputs` holds the joint ones first, then by modality."""
        held_out = select_held_out(batch, self.tasks)
        rows = [torch.ones_like(batch.index, dtype=torch.bool), *(batch.present[m] for m in self.probes.linear)]
        losses, counted = [], []
        for part in (batch, held_out):
            for name, counted_rows in zip(outputs, rows, strict=True):
                losses.append(compute_task_loss(self.tasks, outputs[name], part, counted_rows))
                counted.append(has_visible_target(self.tasks, part, counted_rows))
        defined = torch.stack(counted).view(2, -1).float()
        sums = average_over_processes(torch.stack([torch.stack(losses).view(2, -1) * defined, defined]))
        self.step_mean.add(*sums.unbind())

    def on_step_end(self, model: nn.Module) -> None:
        """Update the running averages with the means of the step, and the weights where an interval ends."""
        self.update(*self.step_mean.pop())

    def update(self, losses: Tensor, counted: Tensor) -> None:
        """Update the running averages, and the weights where an interval ends.

        Args:
            losses: of trained and of held-out rows [2, K].
            counted: [2, K] bool, where there were any rows.
        """
        self.number += counted
        rate = (1 / self.number.clamp(min=1)).clamp(min=1 - self.decay)
        self.average += torch.where(counted, rate * (losses - self.average), 0.0)
        self.step += 1
        interval_ends = self.step % self.every == 0
        reweigh = interval_ends & (self.step > self.every)  # the first interval has no reference
        self.weight.copy_(torch.where(reweigh, self._compute_weights(), self.weight))
        self.reference.copy_(torch.where(interval_ends, self.average, self.reference))

    def _compute_weights(self) -> Tensor:  # [K]
        gain = (self.reference[1] - self.average[1]).clamp(min=0)
        overfit = (self.average[1] - self.average[0]) - (self.reference[1] - self.reference[0])
        merit = gain / (overfit.square() + 1e-8)
        share = torch.where(merit.sum() > 0, merit / merit.sum().clamp(min=1e-12), self.weight)
        return self.least / len(share) + (1 - self.least) * share
