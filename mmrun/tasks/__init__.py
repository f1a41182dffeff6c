"""What can be predicted: one class per kind of task, with its losses, scores and metrics."""

from collections.abc import Callable

import numpy as np

from mmrun.data.table import CLASSES, Target
from mmrun.errors import DataError
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.ordinal import Ordinal
from mmrun.tasks.regression import Regression
from mmrun.types import IGNORE_INDEX, Task

TASKS: dict[str, Callable[[str, Target, np.ndarray], Task]] = {
    "classification": Classification.from_target,
    "ordinal": Ordinal.from_target,
    "multilabel": Multilabel.from_target,
    "regression": Regression.from_target,
}


def for_target(name: str, target: Target, train_rows: np.ndarray) -> Task:
    """Return the task of a target column; class counts, mean and deviation come from the training rows.

    Args:
        name: of the task.
        target: the column.
        train_rows: numbers of the labelled training rows [N].

    Raises:
        DataError: no training row has a class or value.
    """
    values = target.values[train_rows].reshape(len(train_rows), -1)
    known = values != IGNORE_INDEX if target.task in CLASSES else ~np.isnan(values)
    for column, seen in enumerate(known.any(0)):
        if not seen:
            what = "a class" if target.task in CLASSES else f"a value of '{target.names[column]}'"
            raise DataError(f"target '{name}': no labelled training row has {what}; label some, or drop the target")
    return TASKS[target.task](name, target, train_rows)
