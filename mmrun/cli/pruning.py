"""How a run of a search looks on a terminal: as any run, until it is not worth going on with."""

from typing import Any

from mmrun.cli.terminal import Terminal
from mmrun.results.folder import RunFolder
from mmrun.run.session import Pruned
from mmrun.search.trials import Report


class PruningTerminal(Terminal):
    """Ends a run whose validation figure is not among the best at this point of the search."""

    def __init__(self, live: bool, folder: RunFolder, trial: dict[str, Any]) -> None:
        super().__init__(live)
        self.folder, self.report = folder, Report(**trial)

    def figures(self, stage: str, figures: dict[str, float]) -> None:
        """Say an evaluation in a line, and tell the search."""
        super().figures(stage, figures)
        key = self.report.key
        if key not in figures:
            return
        number = sum(key in event for event in self.folder.events())  # goes on where the run does
        if not self.report.worth_it(figures[key], number):
            raise Pruned(f"{key} {figures[key]:.4f} at evaluation {number} is not among the best")
