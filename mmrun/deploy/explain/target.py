"""Which target of a run is explained, and which of its outputs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmrun.errors import ConfigError, nearest
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import Task

MAX_NAMED = 10  # outputs that an error lists


@dataclass(frozen=True)
class ExplainedTarget:
    """A target and the output that is explained.

    Attributes:
        task: the target.
        output: number of the output; None: of each row the predicted class, the most probable label, or the first
            number.
        is_named: whether the user named the target.
    """

    task: Task
    output: int | None = None
    is_named: bool = False

    @property
    def outputs(self) -> list[str]:
        """Names of the classes, labels or numbers."""
        return name_outputs(self.task)

    @property
    def is_regression(self) -> bool:
        """Whether the scores are numbers in the unit of the target."""
        return isinstance(self.task, Regression)

    def scale_of(self, output: int) -> float:
        """Return a large change of a score: 1 for a probability, else the deviation of the number in training."""
        return float(self.task.std[output]) if isinstance(self.task, Regression) else 1.0

    def choose_outputs(self, scores: np.ndarray) -> np.ndarray:
        """Return the number of the output that is explained in each row.

        Args:
            scores: [B, C].

        Returns:
            [B] int64.
        """
        if self.output is not None:
            return np.full(len(scores), self.output)
        return np.zeros(len(scores), dtype=np.int64) if self.is_regression else scores.argmax(1)


def name_outputs(task: Task) -> list[str]:
    """Return the names of the classes, labels or numbers that a task predicts."""
    if isinstance(task, Classification):
        return task.classes
    if isinstance(task, Multilabel):
        return task.labels
    if isinstance(task, Regression):
        return task.outputs
    return [str(number) for number in range(task.num_outputs)]


def parse_target(tasks: Mapping[str, Task], text: str | None) -> ExplainedTarget:
    """Return the target that a user named.

    Args:
        tasks: of the run.
        text: TARGET, or TARGET=OUTPUT to explain a class, label or number other than the predicted one; None: the
            first target.

    Raises:
        ConfigError: there is no such target or output.
    """
    if text is None:
        return ExplainedTarget(next(iter(tasks.values())))
    if text in tasks:
        return ExplainedTarget(tasks[text], is_named=True)
    for name, task in tasks.items():
        if text.startswith(f"{name}="):
            outputs, output = name_outputs(task), text.removeprefix(f"{name}=")
            if output not in outputs:
                raise ConfigError(
                    f"--target {text}: '{name}' has no {output!r}{nearest(output, outputs)} "
                    f"(there are {', '.join(outputs[:MAX_NAMED])}{', ...' if len(outputs) > MAX_NAMED else ''})"
                )
            return ExplainedTarget(task, outputs.index(output), is_named=True)
    raise ConfigError(
        f"--target {text}: the run has no such target{nearest(text, tasks)} (there are {', '.join(tasks)}); "
        "name a class as TARGET=CLASS"
    )
