"""ReconBoost: modalities learn by turns what the others get wrong, between joint steps."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.unimodal import eval_mode
from mmrun.objectives.losses import (
    compute_row_losses,
    compute_unimodal_loss,
    has_true_classes,
    hide_targets,
    score_truth,
    sum_losses,
)
from mmrun.types import Batch, Features, Objective, Task
from mmrun.values import NonNegativeFloat, PositiveInt, Share


class StepCounter(nn.Module):
    """Counts optimiser steps on the CPU, so that what a step does can depend on it without waiting for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def get_extra_state(self) -> Tensor:
        """Return the count, for the state dict."""
        return torch.tensor(self.steps)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore the count."""
        self.steps = int(state)


class ReconBoost(Objective):
    """ReconBoost (Hua, Xu, Bao, Yang & Huang, 2024): modalities boost each other, as the learners of gradient boosting.

    Joint steps with the wrapped objective, the global rectification, alternate with the turn of one modality after the
    other. In its turn, a modality learns alone, through fusion and head, while the other encoders are fixed:

    - a row's cross-entropy is weighted by 1 - reconcilement * q, where q is the probability of the true class that the
      model gives without the modality: rows that the others already get right count less;
    - memory consolidation: plus `consolidation` times the squared distance to the probabilities that the modality of
      the turn before gives alone.

    The authors sum the logits of the modalities; here any fusion combines them, and "alone" and "without" mean that
    other modalities are missing for it. In their code the consolidation has no gradient; here it has one, as in the
    paper. Regressions of a run with several tasks have no probabilities: their plain loss is that of a turn.

    Args:
        objective: to wrap.
        tasks: the tasks by name.
        kinds: the modalities that the stage reads.
        reconcilement: how much less rows count that the others get right, 0..1; 0: all count the same.
        consolidation: weight of the distance to the modality of the turn before.
        turn_steps: steps of a modality's turn.
        rectification_steps: joint steps, before the first turn and after each.

    Raises:
        ConfigError: no task has classes or labels.
    """

    def __init__(
        self,
        objective: Objective,
        tasks: Mapping[str, Task],
        kinds: Iterable[str],
        reconcilement: Share = 0.2,
        consolidation: NonNegativeFloat = 0.5,
        turn_steps: PositiveInt = 4,
        rectification_steps: PositiveInt = 4,
    ) -> None:
        super().__init__()
        if not any(has_true_classes(task) for task in tasks.values()):
            raise ConfigError(
                f"balance: reconboost compares probabilities, and no task has classes or labels (there are "
                f"{', '.join(tasks)}); choose agm, gradient_blending, lfm, pcgrad, mmpareto or umt"
            )
        self.objective, self.tasks, self.modalities = objective, dict(tasks), list(kinds)
        self.reconcilement, self.consolidation = reconcilement, consolidation
        self.turn_steps, self.rectification_steps = turn_steps, rectification_steps
        self.counter = StepCounter()

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective, or in a modality's turn those by which it learns alone.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            The losses of the wrapped objective; or loss, loss/boosting/<modality>, loss/consolidation/<modality>.
        """
        turn = self.find_turn(self.counter.steps)
        if not self.training or turn is None:
            losses: dict[str, Tensor] = self.objective(model, batch)
            return losses
        modality, previous = self.modalities[turn], self.modalities[turn - 1]
        boosting, consolidation = self._boost(model, batch, modality, previous)
        total = boosting + self.consolidation * consolidation
        parts = {f"loss/boosting/{modality}": boosting, f"loss/consolidation/{modality}": consolidation}
        return {"loss": total, **parts}

    def find_turn(self, step: int) -> int | None:
        """Return the number of the modality whose turn a step is; None in joint steps.

        Args:
            step: from 0.
        """
        rounds, position = divmod(step, self.rectification_steps + self.turn_steps)
        return None if position < self.rectification_steps else rounds % len(self.modalities)

    def on_step_end(self, model: nn.Module) -> None:
        """Count the step."""
        self.counter.steps += 1

    def _boost(self, model: Multimodal, batch: Batch, modality: str, previous: str) -> tuple[Tensor, Tensor]:
        """Return the reconciled loss of a modality alone, and its distance to the modality of the turn before."""
        features = self._encode(model, batch, modality)
        present = {name: batch.present[name] for name in self.modalities}
        absent = {name: torch.zeros_like(rows) for name, rows in present.items()}
        alone = _predict(model, features, {**absent, modality: present[modality]})
        with torch.no_grad(), eval_mode(model.fusion, model.head):
            without = _predict(model, features, {**present, modality: absent[modality]})
            before = _predict(model, features, {**absent, previous: present[previous]})
        has_others = torch.stack([rows for name, rows in present.items() if name != modality]).any(0)
        boosting, distances = [], []
        for name, task in self.tasks.items():
            if not has_true_classes(task):
                boosting.append(compute_unimodal_loss({name: task.loss}, alone, batch, modality))
                continue
            target = hide_targets(batch.targets[name], present[modality])
            truth, visible = score_truth(task, without[name], target)
            rows = (1 - self.reconcilement * truth * has_others) * compute_row_losses(task, alone[name], target)
            distance = (task.scores(alone[name]) - task.scores(before[name])).square().mean(1)
            number = visible.sum().clamp(min=1)
            boosting.append(batch.weigh(rows.where(visible, 0).sum() / number, name, modality))
            compared = visible & present[previous]
            distances.append(batch.weigh(distance.where(compared, 0).sum() / number, name, modality))
        return sum_losses(boosting), sum_losses(distances)

    def _encode(self, model: Multimodal, batch: Batch, modality: str) -> dict[str, Features]:
        """Return the features of all modalities; the encoders of all others are fixed."""
        others = [model.encoder[name] for name in self.modalities if name != modality]
        with torch.no_grad(), eval_mode(*others):
            fixed = model.encode({name: batch.inputs[name] for name in self.modalities if name != modality})
        learned = model.encode_modality(modality, batch.inputs[modality])
        return {name: learned if name == modality else fixed[name] for name in self.modalities}


def _predict(model: Multimodal, features: dict[str, Features], present: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the outputs of all tasks from the present modalities."""
    return model.forward_head(model.fusion(features, present))
