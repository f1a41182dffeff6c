"""Which loss each task has: what the arguments of the objectives `task` and `probe` choose."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce

import torch
from torch import Tensor

from mmrun.errors import ConfigError, nearest
from mmrun.tasks.classification import Classification
from mmrun.tasks.regression import Regression
from mmrun.types import Task

Loss = Callable[[Tensor, Tensor], Tensor]  # output [B, C], target -> scalar
FORMS = {"classification": ("cross_entropy", "focal", "hinge"), "regression": ("mse", "l1", "huber")}  # usual one first


def summed(losses: Iterable[Tensor]) -> Tensor:
    """Add losses up; a single one is given as it is, without an operation to run and to differentiate."""
    return reduce(torch.add, losses)


def losses_of(
    tasks: Mapping[str, Task],
    loss: Mapping[str, str] | None = None,
    gamma: float = 2.0,
    delta: float = 1.0,
    label_smoothing: float = 0.0,
    class_balanced: bool = False,
) -> dict[str, Loss]:
    """Return each task's loss. `loss` chooses among FORMS; multilabel and ordinal tasks have only one."""
    forms = {kind: (loss or {}).get(kind, usual) for kind, (usual, *_) in FORMS.items()}
    _check(tasks, loss or {}, gamma, delta, label_smoothing, class_balanced)
    made: dict[str, Loss] = {}
    for name, task in tasks.items():
        made[name] = task.loss
        if isinstance(task, Classification):
            made[name] = partial(task.loss, label_smoothing=label_smoothing, class_balanced=class_balanced)
        if type(task) is Classification and forms["classification"] == "focal":
            made[name] = partial(task.focal, gamma=gamma, class_balanced=class_balanced)
        if type(task) is Classification and forms["classification"] == "hinge":
            made[name] = partial(task.hinge, class_balanced=class_balanced)
        if isinstance(task, Regression) and forms["regression"] == "l1":
            made[name] = task.l1
        if isinstance(task, Regression) and forms["regression"] == "huber":
            made[name] = partial(task.huber, delta=delta)
    return made


def _check(
    tasks: Mapping[str, Task],
    loss: Mapping[str, str],
    gamma: float,
    delta: float,
    label_smoothing: float,
    class_balanced: bool,
) -> None:
    """Refuse what no task can do, what does not go together, and numbers out of range."""
    kinds = {
        "classification": [name for name, task in tasks.items() if type(task) is Classification],
        "regression": [name for name, task in tasks.items() if isinstance(task, Regression)],
    }
    for kind, form in loss.items():
        if kind not in FORMS:
            raise ConfigError(
                f"objective.loss.{kind}: a loss is chosen for {' and '.join(FORMS)}{nearest(kind, FORMS)}"
            )
        one_of(f"objective.loss.{kind}", form, FORMS[kind])
        if form != FORMS[kind][0] and not kinds[kind]:
            raise _nothing_of_the_kind(f"objective.loss.{kind}", kind, tasks)
    for key, given in (("label_smoothing", label_smoothing > 0), ("class_balanced", class_balanced)):
        if given and not any(isinstance(task, Classification) for task in tasks.values()):
            raise _nothing_of_the_kind(f"objective.{key}", "classification", tasks)
    form = loss.get("classification", "cross_entropy")
    if label_smoothing > 0 and form != "cross_entropy":
        raise ConfigError(f"objective.label_smoothing: {form} knows no smoothing; set it to 0")
    if gamma < 0:
        raise ConfigError(f"objective.gamma: {gamma} is below 0")
    if delta <= 0:
        raise ConfigError(f"objective.delta: {delta} is not above 0")


def one_of(key_path: str, value: str, known: Sequence[str]) -> None:
    """Refuse a word that is none of those known."""
    if value not in known:
        raise ConfigError(f"{key_path}: '{value}' is not one of {', '.join(known)}{nearest(str(value), known)}")


def _nothing_of_the_kind(key_path: str, kind: str, tasks: Mapping[str, Task]) -> ConfigError:
    return ConfigError(f"{key_path}: no task is a {kind} (there are {', '.join(tasks)}); leave it out")
