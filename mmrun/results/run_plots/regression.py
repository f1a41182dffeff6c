"""What one run predicted for a regression: predicted values over true ones, and residuals."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.formatting import format_number, pluralize
from mmrun.results.report.charts import shorten_name
from mmrun.results.report.plots import Plot
from mmrun.results.report.style import PALETTE, PlotKwargs
from mmrun.results.run_plots.drawn import Drawn
from mmrun.results.schema import MetricValues

MAX_OUTPUTS = 6  # of a task that are drawn
MAX_POINTS = 2000  # of a plot: more would only cover each other
METRICS = {"r2": "R²", "mae": "MAE", "rmse": "RMSE"}


def plot_regression(
    title: str, per_output: Mapping[str, MetricValues], predicted: np.ndarray, true: np.ndarray
) -> Drawn:
    """Plot each output of a task.

    Args:
        title: task and split.
        per_output: metrics by name of the C outputs.
        predicted: [N, C], in the unit of the target.
        true: [N, C]; hidden ones are NaN.

    Returns:
        Two plots for each of the first MAX_OUTPUTS outputs; a note says what is left out.
    """
    plots, notes = list[Plot](), list[str]()
    for column, (name, metrics) in enumerate(list(per_output.items())[:MAX_OUTPUTS]):
        is_known = np.isfinite(true[:, column])
        is_used = is_known & np.isfinite(predicted[:, column])
        subject = title if len(per_output) == 1 else f"{title}, {shorten_name(name)}"
        if not is_used.any():
            notes.append(f"{subject}: no plots, no row has both a target and a finite prediction")
            continue
        if num_left_out := int((is_known & ~is_used).sum()):
            notes.append(f"{subject}: {pluralize(num_left_out, 'row')} without a finite prediction left out")
        suffix = "" if len(per_output) == 1 else f"-{name}"
        points = np.stack([true[is_used, column], predicted[is_used, column]], axis=1)
        plots += [plot_predicted(subject, suffix, points, metrics), plot_residuals(subject, suffix, points)]
    if len(per_output) > MAX_OUTPUTS:
        notes.append(f"{title}: the first {MAX_OUTPUTS} of {len(per_output):,} outputs are plotted")
    return Drawn(plots, notes)


def select_points(points: np.ndarray) -> np.ndarray:
    """Return at most MAX_POINTS rows, evenly spaced.

    Args:
        points: [N, 2].
    """
    places = np.linspace(0, len(points) - 1, min(len(points), MAX_POINTS)).round().astype(int)
    return np.take(points, places, axis=0)


def plot_predicted(subject: str, suffix: str, points: np.ndarray, metrics: MetricValues) -> Plot:
    """Plot predicted over true values, both axes on one scale.

    Args:
        subject: task, split and output.
        suffix: of the plot's name.
        points: true and predicted value of each row [N, 2].
        metrics: of all rows, by name.
    """

    def draw(axes: Axes) -> None:
        low, high = points.min(), points.max()
        axes.plot([low, high], [low, high], color="grey", linewidth=1, linestyle=":")
        axes.scatter(*select_points(points).T, **_style_points(len(points)))
        axes.set_aspect("equal", adjustable="datalim")
        axes.locator_params(nbins=5)
        axes.set_xlabel("true")
        axes.set_ylabel("predicted")

    measured = _describe_metrics(metrics)
    caption = f"{subject}: predicted over true values, equal on the dotted line{measured}; {_describe_rows(points)}"
    alt = f"Scatter plot of predicted over true values of {subject}{measured}; {_describe_rows(points)}."
    return Plot(f"predicted{suffix}", caption, alt, draw, 4.6, 3.9)


def plot_residuals(subject: str, suffix: str, points: np.ndarray) -> Plot:
    """Plot residuals, predicted less true values, over predicted values.

    Args:
        subject: task, split and output.
        suffix: of the plot's name.
        points: true and predicted value of each row [N, 2].
    """
    residuals = points[:, 1] - points[:, 0]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color="grey", linewidth=1, linestyle=":")
        shown = select_points(np.stack([points[:, 1], residuals], axis=1))
        axes.scatter(*shown.T, **_style_points(len(points)))
        axes.set_xlabel("predicted")
        axes.set_ylabel("predicted - true")
        axes.locator_params(nbins=5)

    caption = f"{subject}: residuals over predicted values, mean {format_number(residuals.mean())}"
    quantiles = [format_number(value) for value in np.quantile(residuals, [0.05, 0.95])]
    alt = f"Scatter plot of residuals of {subject}; 90 % lie from {quantiles[0]} to {quantiles[1]}."
    return Plot(f"residuals{suffix}", caption, alt, draw, 4.6, 3.3)


def _style_points(num_rows: int) -> PlotKwargs:
    return {"color": PALETTE[0], "s": 14, "linewidths": 0, "alpha": 0.7 if num_rows < 300 else 0.35}


def _describe_metrics(metrics: MetricValues) -> str:
    parts = [f"{label} {format_number(metrics[name])}" for name, label in METRICS.items() if name in metrics]
    return "".join(f", {part}" for part in parts)


def _describe_rows(points: np.ndarray) -> str:
    return (
        pluralize(len(points), "row") if len(points) <= MAX_POINTS else f"{MAX_POINTS:,} of {len(points):,} rows drawn"
    )
