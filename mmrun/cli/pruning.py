"""Ends a run of a search that is not among the best."""

from typing import Any

from mmrun.results.folder import RunFolder
from mmrun.run.session import Pruned
from mmrun.search.trials import Report
from mmrun.training.callback import Callback
from mmrun.training.state import TrainState


class Pruning(Callback):
    """Reports the validation metric to the search, and ends the run where it is not among the best.

    Args:
        folder: of the run; its log tells how many evaluations there were before.
        trial: arguments of `search.trials.Report`.
    """

    def __init__(self, folder: RunFolder, trial: dict[str, Any]) -> None:
        self.folder, self.report = folder, Report(**trial)

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Report, and stop if it is not worth going on."""
        key = self.report.key
        if key not in metrics:
            return
        number = sum(key in event for event in self.folder.log.read_events())  # a resumed run continues to count
        if not self.report.worth_it(metrics[key], number):
            raise Pruned(f"{key} {metrics[key]:.4f} at evaluation {number} is not among the best")
