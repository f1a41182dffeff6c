"""Contract checks for tasks: loss, scores and metrics of one target column.

The first line of a check is printed as what it checks.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from mmrun.data.table import Target
from mmrun.data.visible import is_visible
from mmrun.known_metrics import is_higher_better
from mmrun.tasks import TASKS
from mmrun.types import IGNORE_INDEX, Task

TARGETS: Mapping[str, Target] = {  # by kind of task; row 2 is hidden
    "classification": Target("classification", np.array([0, 1, IGNORE_INDEX, 2, 1, 0]), ["cat", "dog", "hen"]),
    "ordinal": Target("ordinal", np.array([0, 1, IGNORE_INDEX, 2, 1, 0]), ["low", "middle", "high"]),
    "multilabel": Target(
        "multilabel", np.array([[1, 0], [0, 1], [np.nan] * 2, [1, 1], [0, 0], [1, 0]], dtype=np.float32), ["cat", "dog"]
    ),
    "regression": Target("regression", np.array([1.0, 2.0, np.nan, 4.0, 8.0, 3.0], dtype=np.float32), ["years"]),
}
HIDDEN_ROW = 2

BuildTask = Callable[[str, Target, np.ndarray], Task]  # from a name, a target and the training rows


def kinds_of(task_class: type) -> list[str]:
    """Return the kinds of targets that a task class serves: those whose own task it extends.

    Args:
        task_class: any class.
    """
    return [kind for kind, base in TASKS.items() if issubclass(task_class, base)]


def check_loss(build: BuildTask, target: Target) -> None:
    """The loss is a finite scalar with gradients, and hidden rows do not count.

    Args:
        build: builds the task.
        target: an example column.

    Raises:
        AssertionError: the contract is broken.
    """
    task, values = _open(build, target)
    output = _outputs(task)
    loss = task.loss(output, values)
    loss.backward()
    assert output.grad is not None, "the loss has no gradient"
    assert loss.shape == (), f"the loss has shape {tuple(loss.shape)}"
    assert loss.isfinite(), "the loss is not finite"
    assert not output.grad[HIDDEN_ROW].any(), "a hidden row has a gradient"
    with torch.no_grad():
        changed = output.detach().clone()
        changed[HIDDEN_ROW] += 1
        assert task.loss(changed, values).item() == loss.item(), "the output of a hidden row changes the loss"


def check_hidden(build: BuildTask, target: Target) -> None:
    """A batch without any visible target has the loss 0 and gradients of 0.

    Args:
        build: builds the task.
        target: an example column.

    Raises:
        AssertionError: the contract is broken.
    """
    task, values = _open(build, target)
    output = _outputs(task)
    loss = task.loss(output, torch.full_like(values, float(values.reshape(len(values), -1)[HIDDEN_ROW, 0])))
    loss.backward()
    assert loss.item() == 0, f"the loss is {loss.item()}"
    assert output.grad is not None
    assert not output.grad.any(), "a gradient is not 0"


def check_mean(build: BuildTask, target: Target) -> None:
    """The loss is a mean: those of two parts of a batch, weighed by their visible targets, give that of the batch.

    Args:
        build: builds the task.
        target: an example column.

    Raises:
        AssertionError: the contract is broken.
    """
    task, values = _open(build, target)
    output = _outputs(task).detach()
    total = 0.0
    for rows in (slice(0, 4), slice(4, 6)):
        total += task.loss(output[rows], values[rows]).item() * int(is_visible(values[rows]).sum())
    mean, whole = total / int(is_visible(values).sum()), task.loss(output, values).item()
    assert math.isclose(mean, whole, rel_tol=1e-4), f"the loss of a batch is {whole:g}, the mean of its parts {mean:g}"


def check_metrics(build: BuildTask, target: Target) -> None:
    """Scores have a row per output row; metrics are numbers whose direction is known, the primary one among them.

    Args:
        build: builds the task.
        target: an example column.

    Raises:
        AssertionError: the contract is broken.
    """
    task, values = _open(build, target)
    scores = task.scores(_outputs(task).detach())
    assert scores.shape == (len(values), task.num_outputs), f"scores have shape {tuple(scores.shape)}"
    metrics = task.metrics(scores.numpy(), values.numpy())
    quick = task.quick_metrics(scores.numpy(), values.numpy())
    assert quick.items() <= metrics.items(), f"quick_metrics returns others than metrics: {', '.join(quick)}"
    assert task.primary_metric in metrics, f"the primary metric {task.primary_metric} is not among {', '.join(metrics)}"
    for name, value in metrics.items():
        assert isinstance(value, float), f"{name} is {type(value).__name__}, not a float"
        assert is_higher_better(name) is not None, f"{name}: end its name in _loss, _error or _score"
    hidden = torch.full_like(values, float(values.reshape(len(values), -1)[HIDDEN_ROW, 0]))
    assert task.metrics(scores.numpy(), hidden.numpy()) == {}, "rows that are all hidden have metrics"


CHECKS = (check_loss, check_hidden, check_mean, check_metrics)


def _open(build: BuildTask, target: Target) -> tuple[Task, torch.Tensor]:
    return build("pet", target, np.array([0, 1, 3, 4])), torch.from_numpy(target.values)


def _outputs(task: Task) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(6, task.num_outputs, requires_grad=True)
