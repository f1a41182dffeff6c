"""What a function that plots part of a run returns."""

from typing import NamedTuple

from mmrun.results.report.plots import Plot


class Drawn(NamedTuple):
    """Plots, and what is missing from them.

    Attributes:
        plots: in order; their names differ.
        notes: one line for each thing that is left out.
    """

    plots: list[Plot]
    notes: list[str]
