"""What can be predicted: one class per kind of task, with its losses, scores and metrics."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmrun.data.table import CLASSES, Target
from mmrun.errors import ConfigError, DataError
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.ordinal import Ordinal
from mmrun.tasks.regression import Regression
from mmrun.types import IGNORE_INDEX, Task

Kind = type[Classification] | type[Multilabel] | type[Regression]

TASKS: dict[str, Kind] = {
    "classification": Classification,
    "ordinal": Ordinal,
    "multilabel": Multilabel,
    "regression": Regression,
}


BuildTask = Callable[[dict[str, object]], Task]  # a task of the user's own, from `name` and what `fit_task` returned


def build_task(name: str, target: Target, train_rows: np.ndarray, build: BuildTask | None = None) -> Task:
    """Build the task of a target column; class counts, mean and deviation come from the training rows.

    Args:
        name: of the task.
        target: the column.
        train_rows: numbers of the labelled training rows [N].
        build: as for `restore_task`.

    Raises:
        DataError: no training row has a class or value.
        ConfigError: the user's task does not extend the target's kind.
    """
    return restore_task(name, target.task, fit_task(name, target, train_rows), build)


def fit_task(name: str, target: Target, train_rows: np.ndarray) -> dict[str, Any]:
    """Return what the training rows decide about a task: the arguments of the class of its kind.

    Args:
        name: of the task.
        target: the column.
        train_rows: numbers of the labelled training rows [N].

    Raises:
        DataError: no training row has a class or value.
    """
    _check_visible(name, target, train_rows)
    return TASKS[target.task].fit(target, train_rows)


def restore_task(name: str, kind: str, arguments: Mapping[str, Any], build: BuildTask | None = None) -> Task:
    """Build a task from what the training rows decided about it.

    Args:
        name: of the task.
        kind: of its target, one of TASKS.
        arguments: what `fit_task` returned.
        build: builds a task of the user's own; None: the kind itself is built.

    Raises:
        ConfigError: the user's task does not extend the target's kind.
    """
    cls: Kind = TASKS[kind]
    if build is None:
        return cls(name=name, **arguments)
    task = build({"name": name, **arguments})
    if not isinstance(task, cls):
        raise ConfigError(
            f"tasks.{name}: {type(task).__name__} does not extend {cls.__module__}.{cls.__name__}, "
            f"as a task for a target of {kind} must"
        )
    return task


def _check_visible(name: str, target: Target, train_rows: np.ndarray) -> None:
    """Raise an error unless each column of the target has a visible value in the training rows."""
    values = target.values[train_rows].reshape(len(train_rows), -1)
    visible = values != IGNORE_INDEX if target.task in CLASSES else ~np.isnan(values)
    for column, is_visible in enumerate(visible.any(0)):
        if not is_visible:
            what = "a class" if target.task in CLASSES else f"a value of '{target.names[column]}'"
            raise DataError(f"target '{name}': no labelled training row has {what}; label some, or drop the target")
