"""The plots of a report. Each is data and a function that draws it, so that a page and a paper can both draw it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, NullFormatter

from mmrun.results.compare import Comparison, Row, get_metric_values
from mmrun.results.costs import compute_mean_costs
from mmrun.results.curves import Crossing, Curves
from mmrun.results.formatting import format_number
from mmrun.results.ranks import Ranking
from mmrun.results.report.groups import describe_groups, format_group, map_groups
from mmrun.results.report.logs import average_curves
from mmrun.results.report.style import GroupStyle, PlotKwargs, Styles, draw_legend
from mmrun.results.run_values import Group
from mmrun.results.schema import RunRecord

MAX_SINGLE_CURVES = 12  # groups with more runs are drawn as their mean alone
WIDE = 10  # a cost axis over more than this factor is logarithmic


@dataclass(frozen=True)
class Plot:
    """A plot that has not been drawn yet.

    Args:
        name: of its files, within a section.
        caption: one line below it.
        alt: text alternative: what it shows, with the values, for readers who cannot see it.
        draw: draws it on empty axes.
        width: inches.
        height: inches; a legend below the plot is added to it.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[Axes], None]
    width: float = 5.0
    height: float = 3.3


# ------------------------------------------------------------------------------------------------- quality and cost


def plot_quality_over_cost(
    comparison: Comparison, runs: Mapping[Group, Sequence[RunRecord]], cost: str, cost_label: str, styles: Styles
) -> Plot:
    """Plot the metric of each group over its cost, with the Pareto front.

    Args:
        comparison: of the groups.
        runs: by group.
        cost: name of the cost in metrics.json; groups whose cost is unknown are left out.
        cost_label: of the horizontal axis.
        styles: of the groups.

    Returns:
        Means with 95 % intervals, runs as small marks, and the front of the groups that no other one beats in both
        metric and cost. Costs are amortised where the question asks for it.
    """
    metric, fusions = comparison.question.metric, comparison.question.amortise
    rows: dict[Group, Row] = {}
    points: dict[Group, tuple[float, float]] = {}  # mean cost, mean metric
    costs: dict[Group, list[float]] = {}
    for row in comparison.rows:
        mean_cost = row.cost[cost]
        if mean_cost is not None:
            rows[row.group] = row
            points[row.group] = (mean_cost, row.mean)
            costs[row.group] = [compute_mean_costs([run], fusions)[cost] or 0 for run in runs[row.group]]
    front = find_pareto_front(points.values(), comparison.question.lower_is_better)

    def draw(axes: Axes) -> None:
        for group, row in rows.items():
            style = styles[group]
            dots: PlotKwargs = {"s": 16, "color": style.color, "marker": style.marker, "alpha": 0.5, "linewidths": 0}
            axes.scatter(costs[group], get_metric_values(runs[group], metric), **dots)
            _draw_mean_with_interval(axes, row, points[group][0], style)
        axes.step(*zip(*front, strict=True), where="post", color="grey", linewidth=1, linestyle=":", zorder=0)
        _scale_cost_axis(axes, costs.values(), cost)
        axes.set_xlabel(cost_label)
        axes.set_ylabel(metric)
        draw_legend(axes)

    described = describe_groups(rows, lambda row: f"{format_number(row.mean)} at {format_number(row.cost[cost])}")
    single = all(row.n == 1 for row in rows.values())
    marks = "one run of each" if single else "means with 95 % intervals, runs as small marks"
    caption = f"{metric} over {cost_label}: {marks}, the Pareto front dotted"
    return Plot(f"quality-{cost}", caption, f"Scatter plot of {metric} over {cost_label}. {described}.", draw)


def _draw_mean_with_interval(axes: Axes, row: Row, cost: float, style: GroupStyle) -> None:
    interval = None if row.low is None or row.high is None else [[row.mean - row.low], [row.high - row.mean]]
    mark: PlotKwargs = {"color": style.color, "marker": style.marker, "markersize": 7, "linestyle": "none"}
    axes.errorbar([cost], [row.mean], yerr=interval, label=format_group(row.group), capsize=3, **mark)


def _scale_cost_axis(axes: Axes, costs: Iterable[Sequence[float]], cost: str) -> None:
    """Scale the horizontal axis for the costs of all runs: logarithmic where they differ much."""
    values = np.concatenate([*costs])
    if values.min() > 0 and values.max() / values.min() > WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if cost == "flops" else "{x:g}")


def find_pareto_front(points: Iterable[tuple[float, float]], lower_is_better: bool) -> list[tuple[float, float]]:
    """Find the points that no other point beats in both cost and metric.

    Args:
        points: cost and metric of each.
        lower_is_better: direction of the metric; a lower cost is always better.

    Returns:
        The points of the front, in order of cost.
    """
    sign = 1 if lower_is_better else -1
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], sign * point[1])):
        if not front or sign * value < sign * front[-1][1]:
            front.append((cost, value))
    return front


# -------------------------------------------------------------------------------------------------- learning curves


def plot_learning_curves(
    curves: Mapping[Group, Sequence[np.ndarray]], metric: str, budget_label: str, styles: Styles
) -> Plot:
    """Plot a metric over what the runs have spent of their budget.

    Args:
        curves: by group, at least one each, [N, 2]: spent so far, value.
        metric: name of the metric, the vertical axis.
        budget_label: of the horizontal axis.
        styles: of the groups.

    Returns:
        Thin lines for runs, thick ones for their mean.
    """
    caption = f"{metric} while the budget is spent, pre-training included"
    if any(len(group_curves) > 1 for group_curves in curves.values()):
        caption += "; thick lines are means over the seeds"
    alt = f"Learning curves of {metric} over {budget_label}. {describe_curves(curves)}."
    return Plot("learning", caption, alt, make_curve_drawer(curves, metric, budget_label, styles))


def describe_curves(curves: Mapping[Group, Sequence[np.ndarray]]) -> str:
    """Describe the first and the last value of each group's mean curve, for a text alternative.

    Args:
        curves: by group, at least one each, [N, 2].

    Returns:
        "holistic from 0.3250 to 0.6500; component from ..."
    """
    means = map_groups(average_curves, curves)
    return describe_groups(
        means, lambda mean: f"from {format_number(mean[0, 1])} to {format_number(mean[-1, 1])}", separator=" "
    )


def make_curve_drawer(
    curves: Mapping[Group, Sequence[np.ndarray]],
    label: str,
    budget_label: str,
    styles: Styles,
    level: float | None = None,
) -> Callable[[Axes], None]:
    """Return a function that draws curves over the budget: a thin line for each run, a thick one for their mean.

    Args:
        curves: by group, at least one each, [N, 2]: spent so far, value. Of a group with more than MAX_SINGLE_CURVES
            runs the mean alone is drawn.
        label: of the vertical axis.
        budget_label: of the horizontal axis.
        styles: of the groups.
        level: where a dotted reference line is drawn; None: nowhere.

    Returns:
        The `draw` of a `Plot`.
    """
    means = map_groups(average_curves, curves)

    def draw(axes: Axes) -> None:
        if level is not None:
            axes.axhline(level, color="grey", linewidth=1, linestyle=":")
        for group, mean in means.items():
            style = styles[group]
            if len(curves[group]) <= MAX_SINGLE_CURVES:
                for curve in curves[group]:
                    axes.plot(*curve.T, color=style.color, linewidth=0.8, alpha=0.5)
            axes.plot(*mean.T, label=format_group(group), **style.line_kwargs(len(mean)))
        axes.set_xlabel(f"spent: {budget_label}")
        axes.set_ylabel(label)
        draw_legend(axes)

    return draw


# ---------------------------------------------------------------------------------------------- along an axis, ranks


def plot_crossover(curves: Curves, styles: Styles) -> Plot:
    """Plot the mean of each group along an axis, and where means cross.

    Args:
        curves: a comparison for each value of the axis, and the crossings.
        styles: of the groups.

    Returns:
        Lines with the bands of their 95 % intervals; crossings are dotted lines with the bands of theirs.
    """
    lines: dict[Group, list[tuple[float, Row]]] = {}
    for value, comparison in zip(curves.values, curves.comparisons, strict=True):
        for row in comparison.rows:
            lines.setdefault(row.group, []).append((value, row))
    crossings = _locate_crossings(curves)
    metric = curves.question.metric

    def draw(axes: Axes) -> None:
        if curves.logarithmic:
            axes.set_xscale("log")
        for group, points in lines.items():
            _draw_line_with_band(axes, points, format_group(group), styles[group])
        for place, crossing in crossings:
            axes.axvline(place, color="grey", linewidth=1, linestyle=":")
            if crossing.low is not None and crossing.high is not None:
                axes.axvspan(crossing.low, crossing.high, color="grey", alpha=0.15, linewidth=0)
        axes.set_xticks(curves.values, [f"{value:g}" for value in curves.values])
        axes.minorticks_off()
        axes.set_xlabel(curves.across)
        axes.set_ylabel(metric)
        draw_legend(axes)

    single = all(row.n == 1 for points in lines.values() for _, row in points)
    marks = "one run of each" if single else "means with 95 % intervals"
    caption = f"along {curves.across}: {marks}; a dotted line marks a crossing, the band its interval"
    span = f"{curves.values[0]:g} to {curves.values[-1]:g}"
    alt = f"Line plot of {metric} along {curves.across}, {span}. {describe_groups(lines, _describe_means)}. "
    return Plot("crossover", caption, f"{alt}Crossings: {_describe_crossings(crossings)}.", draw)


def _draw_line_with_band(axes: Axes, points: Sequence[tuple[float, Row]], label: str, style: GroupStyle) -> None:
    """Draw a group's means along the axis, and their intervals where they have one."""
    values, means, lows, highs = [], [], [], []
    for value, row in points:
        values.append(value)
        means.append(row.mean)
        lows.append(np.nan if row.low is None else row.low)
        highs.append(np.nan if row.high is None else row.high)
    axes.plot(values, means, color=style.color, linestyle=style.line_style, marker=style.marker, label=label)
    axes.fill_between(values, lows, highs, color=style.color, alpha=0.15, linewidth=0)


def _describe_means(points: Iterable[tuple[float, Row]]) -> str:
    return ", ".join(format_number(row.mean) for _, row in points)


def _locate_crossings(curves: Curves) -> list[tuple[float, Crossing]]:
    """Return the crossings that lie on the axis, with their places."""
    located = []
    for crossing in curves.crossings:
        if crossing.at is not None:
            located.append((crossing.at, crossing))
    return located


def _describe_crossings(crossings: Iterable[tuple[float, Crossing]]) -> str:
    return ", ".join(f"{place:.3g}" for place, _ in crossings) or "none"


def plot_critical_difference(ranking: Ranking, styles: Styles) -> Plot:
    """Plot a critical difference diagram (Demsar, 2006): mean ranks, and bars that join indistinguishable groups.

    Args:
        ranking: of the groups, the best first.
        styles: of the groups.

    Returns:
        The diagram; it has no bars where there is no critical difference.
    """
    num_groups = len(ranking.groups)
    cliques = find_cliques(ranking.ranks, ranking.critical)

    def draw(axes: Axes) -> None:
        for index, (group, rank) in enumerate(zip(ranking.groups, ranking.ranks, strict=True)):
            height = num_groups - index  # so that no line crosses the name of a group before it
            label = f"{format_group(group)}  {rank:.2f}"
            axes.plot([rank, rank], [0, height], color="grey", linewidth=0.8)
            axes.annotate(label, (rank, height), xytext=(4, 0), textcoords="offset points", va="center")
            axes.plot([rank], [0], color=styles[group].color, marker=styles[group].marker, clip_on=False)
        for index, (first, last) in enumerate(cliques):
            height_below = -0.4 - 0.25 * index
            axes.plot([ranking.ranks[first], ranking.ranks[last]], [height_below] * 2, linewidth=3, color="grey")
        axes.set_xlim(1, num_groups + 0.6)
        axes.set_ylim(-1 - 0.25 * num_groups, num_groups + 0.7)
        axes.set_xticks(range(1, num_groups + 1))
        axes.set_yticks([])
        axes.spines[["left"]].set_visible(False)
        axes.set_xlabel("mean rank, 1 is the best")

    ranks = []
    for group, rank in zip(ranking.groups, ranking.ranks, strict=True):
        ranks.append(f"{format_group(group)} {rank:.2f}")
    bars = "" if ranking.critical is None else f"; bars join groups within {ranking.critical:.2f} of each other"
    caption = f"mean ranks over {len(ranking.blocks)} values of {', '.join(ranking.over)}{bars}"
    return Plot("ranks", caption, f"Mean ranks: {', '.join(ranks)}.", draw, height=2.6)


def find_cliques(ranks: Sequence[float], critical: float | None) -> list[tuple[int, int]]:
    """Find the largest sets of neighbouring groups whose mean ranks lie within the critical difference.

    Args:
        ranks: mean ranks in ascending order.
        critical: the critical difference; None: there is none.

    Returns:
        First and last index of each set of at least two groups; no set contains another.
    """
    if critical is None:
        return []
    cliques: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = first
        for index in range(first, len(ranks)):
            if ranks[index] - rank < critical:
                last = index
        if last > first and (not cliques or last > cliques[-1][1]):
            cliques.append((first, last))
    return cliques
