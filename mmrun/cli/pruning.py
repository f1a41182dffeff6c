"""Prunes unpromising runs of a search."""

from collections.abc import Mapping
from typing import Any

from mmrun.results.folder import RunFolder
from mmrun.run.session import Pruned
from mmrun.search.trials import Report
from mmrun.training.callback import Callback
from mmrun.training.state import TrainState


class Pruning(Callback):
    """Reports the validation metric to the search, and ends the run if it is not among the best.

    Args:
        folder: of the run; its log contains earlier evaluations.
        trial: arguments of `search.trials.Report`.
    """

    def __init__(self, folder: RunFolder, trial: Mapping[str, Any]) -> None:
        self.folder, self.report = folder, Report(**trial)
        self.requested_metrics = frozenset([self.report.key.removeprefix("val/")])

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Report the metric.

        Args:
            state: not used.
            metrics: of this evaluation, by logged name.

        Raises:
            Pruned: the run is not among the best.
        """
        key = self.report.key
        if key not in metrics:
            return
        number = sum(key in event for event in self.folder.log.read_events())  # a resumed run continues to count
        if not self.report.worth_it(metrics[key], number):
            raise Pruned(f"{key} {metrics[key]:.4f} at evaluation {number} is not among the best")
