"""Losses weighed by what generalises."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import Probes, hide, known, over_processes, pooled, task_loss, with_features
from mmrun.types import Batch, Objective, Task

HELD_OUT = 10  # one row in so many is never trained on: those whose number divides by it


class GradientBlending(Objective):
    """Gradient blending, online (Wang et al., 2020): the joint loss and one of each modality alone, weighed anew.

    Over each interval a loss generalises by G, what it falls on held-out rows, and overfits by O, what the gap between
    these and the trained rows grows. Its weight is G / O^2, none below 0, as a share of all, of which `least` is kept
    for equal parts. The targets of the held-out rows, one in ten, teach nothing; the losses are running averages.
    """

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
        every: int = 100,
        decay: float = 0.98,
        least: float = 0.1,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ConfigError(f"balance.every: {every} is not a number of steps above 0")
        for key, share in (("decay", decay), ("least", least)):
            if not 0 <= share <= 1:
                raise ConfigError(f"balance.{key}: {share} is not between 0 and 1")
        self.objective, self.tasks = objective, dict(tasks)
        self.probes = Probes(tasks, kinds, dims)
        self.every, self.decay, self.least = every, decay, least
        num_losses = 1 + len(self.probes.linear)  # the joint one first
        self.register_buffer("average", torch.zeros(2, num_losses))  # of the trained rows, and of the held-out ones
        self.register_buffer("number", torch.zeros(2, num_losses))  # of batches in it
        self.register_buffer("reference", torch.zeros(2, num_losses))  # the averages when the interval began
        self.register_buffer("weight", torch.full((num_losses,), 1 / num_losses))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted sum of the wrapped objective's loss and those of each modality alone."""
        if not self.training:
            return self.objective(model, batch)
        held = batch.index % HELD_OUT == 0
        kept = batch._replace(targets={name: hide(target, ~held) for name, target in batch.targets.items()})
        losses, features = with_features(self.objective, model, kept, list(self.probes.linear))
        outputs = self.probes(pooled(features))
        alone = torch.stack(list(self.probes.losses(outputs, kept).values()))
        total = (self.weight.clone() * torch.cat([losses["loss"].view(1), alone])).sum()
        with torch.no_grad():
            joint = model.head_outputs(model.fusion(features, {m: batch.present[m] for m in features}))
            self._observe({"joint": joint, **outputs}, batch, held)
        named = {f"loss/alone/{m}": loss.detach() for m, loss in zip(self.probes.linear, alone, strict=True)}
        return {**losses, "loss": total, "loss/joint": losses["loss"].detach(), **named}

    def _observe(self, outputs: Mapping[str, Mapping[str, Tensor]], batch: Batch, held: Tensor) -> None:
        """Take the losses of a batch into the running averages, and weigh anew where an interval ends."""
        found, counted = [], []
        for rows in (~held, held):
            own = [rows & batch.present[m] for m in self.probes.linear]
            for name, some in zip(outputs, [rows, *own], strict=True):
                found.append(task_loss(self.tasks, outputs[name], batch, some))
                counted.append(known(self.tasks, batch, some))
        losses, there = torch.stack(found).view(2, -1), torch.stack(counted).view(2, -1).float()
        sums = over_processes(torch.stack([losses * there, there]))
        self.observe(sums[0] / sums[1].clamp(min=1e-6), sums[1] > 0)

    def observe(self, losses: Tensor, counted: Tensor) -> None:  # [2, K], [2, K] bool
        """Go one step on with the losses of the trained and of the held-out rows, where there were any."""
        self.number += counted
        rate = (1 / self.number.clamp(min=1)).clamp(min=1 - self.decay)
        self.average += torch.where(counted, rate * (losses - self.average), 0.0)
        self.step += 1
        ends = self.step % self.every == 0
        weigh = ends & (self.step > self.every)  # the first interval has no reference
        self.weight.copy_(torch.where(weigh, self._weigh(), self.weight))
        self.reference.copy_(torch.where(ends, self.average, self.reference))

    def _weigh(self) -> Tensor:  # [K]
        gain = (self.reference[1] - self.average[1]).clamp(min=0)
        overfit = (self.average[1] - self.average[0]) - (self.reference[1] - self.reference[0])
        merit = gain / (overfit.square() + 1e-8)
        share = torch.where(merit.sum() > 0, merit / merit.sum().clamp(min=1e-12), self.weight)
        return self.least / len(share) + (1 - self.least) * share
