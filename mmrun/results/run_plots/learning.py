"""The learning curves of one run, stage by stage."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.folder import RunFolder
from mmrun.results.formatting import format_number
from mmrun.results.report.plots import Plot
from mmrun.results.report.style import PALETTE, PlotKwargs, draw_legend

LOSSES = ("train/loss", "val/loss")
LINE_STYLES = {"train": ("-", "o"), "val": ("--", "s")}
COLORS = {"train": PALETTE[0], "val": PALETTE[1]}


def plot_learning(folder: RunFolder, metric: str | None) -> list[Plot]:
    """Plot the losses of each stage, and the primary metric on validation rows.

    Args:
        folder: of a run.
        metric: name of the primary metric, without its split; None: the run has none.

    Returns:
        The plots; a stage that was not evaluated twice has none.

    Raises:
        DamagedError: the log is not what was written.
    """
    if not folder.log_file.exists():
        return []
    folder.verify(folder.log_file)
    names = LOSSES if metric is None else (*LOSSES, f"val/{metric}")
    curves = {key: np.array(points) for key, points in folder.log.read_curves(names).items() if len(points) > 1}
    plots = []
    for stage in dict.fromkeys(stage for stage, _ in curves):
        losses = {name: curves[stage, name] for name in LOSSES if (stage, name) in curves}
        if losses:
            plots.append(plot_stage(stage, "loss", losses))
        if (stage, names[-1]) in curves and metric is not None:
            plots.append(plot_stage(stage, metric, {names[-1]: curves[stage, names[-1]]}))
    return plots


def plot_stage(stage: str, metric: str, curves: Mapping[str, np.ndarray]) -> Plot:
    """Plot a metric or a loss over the epochs of a stage.

    Args:
        stage: its name.
        metric: that all curves show.
        curves: by name in the log, at least one, each [N, 2]: epochs, value.
    """

    def draw(axes: Axes) -> None:
        for name, points in curves.items():
            split = name.partition("/")[0]
            line_style, marker = LINE_STYLES[split]
            style: PlotKwargs = {"linestyle": line_style, "marker": marker, "markevery": max(1, len(points) // 6)}
            axes.plot(*points.T, label=split, color=COLORS[split], **style)
        axes.set_xlabel("epochs of the stage")
        axes.set_ylabel(metric)
        draw_legend(axes)

    described = []
    for name, points in curves.items():
        described.append(f"{name} from {format_number(points[0, 1])} to {format_number(points[-1, 1])}")
    alt = f"Learning curves of stage {stage}: {'; '.join(described)}."
    return Plot(f"{stage}-{metric}", f"stage {stage}: {metric} while it trains", alt, draw)
