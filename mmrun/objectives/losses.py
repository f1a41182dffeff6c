"""The loss of each task, as the arguments of the objectives `task` and `probe` select it, and sums of losses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.errors import ConfigError, nearest
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import IGNORE_INDEX, Batch, Task
from mmrun.values import NonNegativeFloat, PositiveFloat, ShareBelow1

Loss = Callable[[Tensor, Tensor], Tensor]  # output [B, C], target -> scalar
FORMS = {"classification": ("cross_entropy", "focal", "hinge"), "regression": ("mse", "l1", "huber")}  # default first


def sum_losses(losses: Iterable[Tensor]) -> Tensor:
    """Return the sum of one or more losses.

    Args:
        losses: scalars; a single one is returned unchanged, which saves an operation in both passes.
    """
    return reduce(torch.add, losses)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the selected rows, or 0 where no row is selected.

    Args:
        values: [B]; rows that are not selected may hold anything, also NaN.
        mask: [B] bool, True for the rows that count.
    """
    return values.where(mask, 0).sum() / mask.sum().clamp(min=1)


def hide_targets(target: Tensor, visible: Tensor) -> Tensor:
    """Return a copy of the target in which only some rows are visible to the losses.

    Args:
        target: [B] or [B, C]; hidden ones become IGNORE_INDEX, or NaN where targets are floats.
        visible: [B] bool, True for the rows whose target stays.
    """
    hidden = float("nan") if target.is_floating_point() else IGNORE_INDEX
    return target.masked_fill(~visible.view(-1, *[1] * (target.dim() - 1)), hidden)


def compute_unimodal_loss(
    losses: Mapping[str, Loss], outputs: Mapping[str, Tensor], batch: Batch, modality: str
) -> Tensor:
    """Return the sum of the task losses of one modality alone, each over the rows where the modality is present.

    Args:
        losses: by task.
        outputs: of the modality, by task, [B, C].
        batch: targets, and what is present.
        modality: by name.
    """
    weighed = []
    for name, loss in losses.items():
        mean = loss(outputs[name], hide_targets(batch.targets[name], batch.present[modality]))
        weighed.append(batch.weigh(mean, name, modality))
    return sum_losses(weighed)


def has_true_classes(task: Task) -> bool:
    """Return whether a task has classes or labels, so that its true ones have a probability."""
    return isinstance(task, Classification | Multilabel)


def score_truth(task: Task, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probability of each row's true class, or its mean over the visible labels.

    Args:
        task: with classes or labels.
        output: [B, C].
        target: [B] or [B, C].

    Returns:
        The probabilities [B], and which rows have a visible target [B] bool.
    """
    scores = task.scores(output)  # [B, C]
    if isinstance(task, Classification):
        visible = target != IGNORE_INDEX
        return scores.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1), visible
    visible_labels = ~target.isnan()
    truth = torch.where(target > 0.5, scores, 1 - scores) * visible_labels
    return truth.sum(1) / visible_labels.sum(1).clamp(min=1), visible_labels.any(1)


def compute_row_losses(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of each row, or its mean over the visible labels; 0 where the target is hidden.

    Args:
        task: with classes or labels.
        output: [B, C].
        target: [B] or [B, C].

    Returns:
        [B].
    """
    if isinstance(task, Classification):
        return F.cross_entropy(output.float(), target, ignore_index=IGNORE_INDEX, reduction="none")
    visible = ~target.isnan()
    class_losses = F.binary_cross_entropy_with_logits(output.float(), target.nan_to_num(), reduction="none")
    return (class_losses * visible).sum(1) / visible.sum(1).clamp(min=1)


def build_losses(
    tasks: Mapping[str, Task],
    loss: Mapping[str, str] | None = None,
    gamma: NonNegativeFloat = 2.0,
    delta: PositiveFloat = 1.0,
    label_smoothing: ShareBelow1 = 0.0,
    class_balanced: bool = False,
) -> dict[str, Loss]:
    """Return the loss function of each task by name.

    Args:
        tasks: the tasks by name.
        loss: one of FORMS by kind of task, the first where it is not given; multilabel and ordinal tasks have a single
            form and ignore it.
        gamma: focusing parameter of the focal loss (Lin et al., 2017); 0 is cross-entropy.
        delta: of the Huber loss (1964), the error in standard deviations up to which it is squared.
        label_smoothing: share of a class target spread over all classes (Szegedy et al., 2016).
        class_balanced: weigh classes inversely to their number of training rows.

    Raises:
        ConfigError: an argument is out of range, or no task can use it.
    """
    requested = loss or {}
    _check(tasks, requested, gamma, delta, label_smoothing, class_balanced)
    classification = requested.get("classification", FORMS["classification"][0])
    regression = requested.get("regression", FORMS["regression"][0])
    losses: dict[str, Loss] = {}
    for name, task in tasks.items():
        losses[name] = task.loss
        if isinstance(task, Classification):
            losses[name] = partial(task.loss, label_smoothing=label_smoothing, class_balanced=class_balanced)
        if type(task) is Classification and classification == "focal":
            losses[name] = partial(task.focal, gamma=gamma, class_balanced=class_balanced)
        if type(task) is Classification and classification == "hinge":
            losses[name] = partial(task.hinge, class_balanced=class_balanced)
        if isinstance(task, Regression) and regression == "l1":
            losses[name] = task.l1
        if isinstance(task, Regression) and regression == "huber":
            losses[name] = partial(task.huber, delta=delta)
    return losses


def _check(
    tasks: Mapping[str, Task],
    loss: Mapping[str, str],
    gamma: float,
    delta: float,
    label_smoothing: float,
    class_balanced: bool,
) -> None:
    """Reject what no task can use, options that cannot be combined, and values out of range."""
    for kind, form in loss.items():
        _check_form(tasks, kind, form)
    if not any(isinstance(task, Classification) for task in tasks.values()):
        if label_smoothing > 0:
            raise _no_such_task("objective.label_smoothing", "classification", tasks)
        if class_balanced:
            raise _no_such_task("objective.class_balanced", "classification", tasks)
    form = loss.get("classification", "cross_entropy")
    if label_smoothing > 0 and form != "cross_entropy":
        raise ConfigError(f"objective.label_smoothing: {form} has no label smoothing; set it to 0")
    if gamma < 0:
        raise ConfigError(f"objective.gamma: {gamma} is below 0")
    if delta <= 0:
        raise ConfigError(f"objective.delta: {delta} is not above 0")


def _check_form(tasks: Mapping[str, Task], kind: str, form: str) -> None:
    """Reject an unknown loss, and one that no task would use."""
    if kind not in FORMS:
        raise ConfigError(
            f"objective.loss.{kind}: a loss can be chosen for {' and '.join(FORMS)}{nearest(kind, FORMS)}"
        )
    check_choice(f"objective.loss.{kind}", form, FORMS[kind])
    if form == FORMS[kind][0]:
        return
    if kind == "classification":
        usable = any(type(task) is Classification for task in tasks.values())
    else:
        usable = any(isinstance(task, Regression) for task in tasks.values())
    if not usable:
        raise _no_such_task(f"objective.loss.{kind}", kind, tasks)


def check_choice(key_path: str, value: str, choices: Sequence[str]) -> None:
    """Reject a value that is not one of the choices.

    Args:
        key_path: of the YAML key, for the message.
        value: what was given.
        choices: what is allowed.

    Raises:
        ConfigError: the value is not one of them.
    """
    if value not in choices:
        raise ConfigError(f"{key_path}: '{value}' is not one of {', '.join(choices)}{nearest(str(value), choices)}")


def _no_such_task(key_path: str, kind: str, tasks: Mapping[str, Task]) -> ConfigError:
    return ConfigError(f"{key_path}: no task is a {kind} (there are {', '.join(tasks)}); leave it out")
