"""The pictures of a report. Each is data and a function that draws it, so that it can be drawn for page and paper."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, NullFormatter

from mmrun.results.compare import Comparison, Row, get_metric_values
from mmrun.results.costs import compute_mean_costs
from mmrun.results.curves import Curves
from mmrun.results.formatting import format_number
from mmrun.results.ranks import Ranking
from mmrun.results.report.logs import mean_curve
from mmrun.results.report.style import Look, Style, key
from mmrun.results.schema import RunRecord
from mmrun.results.selection import Group

FEW = 12  # runs a group that are each drawn


@dataclass(frozen=True)
class Plot:
    """A picture: `draw` puts it on axes; `alt` says what it shows to who cannot see it."""

    name: str  # of its file
    caption: str
    alt: str
    draw: Callable[[Axes], None]
    width: float = 5.0  # inches
    height: float = 3.3


# ------------------------------------------------------------------------------------------------- quality and cost


def quality_over_cost(
    compared: Comparison, runs: Mapping[Group, Sequence[RunRecord]], cost: str, words: str, look: Mapping[Group, Look]
) -> Plot:
    """Show each group's mean over its mean cost, its runs, and the front that no other group beats in both."""
    metric, fusions = compared.question.metric, compared.question.amortise
    known = [row for row in compared.rows if row.cost[cost] is not None]
    front = pareto([(float(row.cost[cost] or 0), row.mean) for row in known], compared.question.lower_is_better)
    costs = {row.group: [compute_mean_costs([run], fusions)[cost] or 0 for run in runs[row.group]] for row in known}

    def draw(axes: Axes) -> None:
        for row in known:
            own = look[row.group]
            each: Style = {"s": 16, "color": own.colour, "marker": own.marker, "alpha": 0.5, "linewidths": 0}
            axes.scatter(costs[row.group], get_metric_values(runs[row.group], metric), **each)
            bar = None if row.low is None or row.high is None else [[row.mean - row.low], [row.high - row.mean]]
            style: Style = {
                "color": own.colour,
                "marker": own.marker,
                "markersize": 7,
                "capsize": 3,
                "linestyle": "none",
            }
            axes.errorbar([row.cost[cost] or 0], [row.mean], yerr=bar, label=",".join(row.group), **style)
        axes.step(*zip(*front, strict=True), where="post", color="grey", linewidth=1, linestyle=":", zorder=0)
        least, most = min(map(min, costs.values())), max(map(max, costs.values()))
        if least > 0 and most / least > 10:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(EngFormatter(sep="") if cost == "flops" else "{x:g}")
        axes.set_xlabel(words)
        axes.set_ylabel(metric)
        key(axes)

    said = "; ".join(
        f"{','.join(row.group)}: {format_number(row.mean)} at {format_number(row.cost[cost])}" for row in known
    )
    caption = f"{metric} over {words}: means with 95 % intervals, runs as small marks, the Pareto front dotted"
    return Plot(f"quality-{cost}", caption, f"Scatter plot of {metric} over {words}. {said}.", draw)


def pareto(points: Sequence[tuple[float, float]], lower: bool) -> list[tuple[float, float]]:
    """Return the points, by cost, that no other beats in both cost and figure."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], point[1] if lower else -point[1])):
        if not front or (value < front[-1][1] if lower else value > front[-1][1]):
            front.append((cost, value))
    return front


# -------------------------------------------------------------------------------------------------- learning curves


def learning(curves: Mapping[Group, Sequence[np.ndarray]], figure: str, words: str, look: Mapping[Group, Look]) -> Plot:
    """Show a figure while the runs spend their budget: thin lines are runs, thick ones their mean."""
    means = {group: mean_curve(of_group) for group, of_group in curves.items()}
    said = "; ".join(
        f"{','.join(g)} from {format_number(m[0, 1])} to {format_number(m[-1, 1])}" for g, m in means.items()
    )
    caption = f"{figure} while the budget is spent, pre-training included; thick lines are means over the seeds"
    alt = f"Learning curves of {figure} over {words}. {said}."
    return Plot("learning", caption, alt, over_budget(curves, figure, words, look))


def over_budget(
    curves: Mapping[Group, Sequence[np.ndarray]],
    figure: str,
    words: str,
    look: Mapping[Group, Look],
    level: float | None = None,
) -> Callable[[Axes], None]:
    """Return a function that draws a line per run, thick lines for means, and a dotted line at a reference level."""
    means = {group: mean_curve(of_group) for group, of_group in curves.items()}

    def draw(axes: Axes) -> None:
        if level is not None:
            axes.axhline(level, color="grey", linewidth=1, linestyle=":")
        for group, mean in means.items():
            own = look[group]
            for curve in curves[group] if len(curves[group]) <= FEW else ():
                axes.plot(*curve.T, color=own.colour, linewidth=0.8, alpha=0.5)
            axes.plot(*mean.T, label=",".join(group), **own.style(len(mean)))
        axes.set_xlabel(f"spent: {words}")
        axes.set_ylabel(figure)
        key(axes)

    return draw


# ---------------------------------------------------------------------------------------------- along an axis, ranks


def crossover(curves: Curves, look: Mapping[Group, Look]) -> Plot:
    """Show each group's mean along the axis with its interval, and where means cross."""
    lines: dict[Group, list[tuple[float, Row]]] = {}
    for value, compared in zip(curves.values, curves.comparisons, strict=True):
        for row in compared.rows:
            lines.setdefault(row.group, []).append((value, row))
    crossings = [(crossing.at, crossing.low, crossing.high) for crossing in curves.crossings if crossing.at is not None]

    def draw(axes: Axes) -> None:
        if curves.logarithmic:
            axes.set_xscale("log")
        for group, points in lines.items():
            own = look[group]
            values, means = zip(*((value, row.mean) for value, row in points), strict=True)
            axes.plot(values, means, color=own.colour, linestyle=own.line, marker=own.marker, label=",".join(group))
            low, high = (
                [np.nan if end is None else end for end in ends]
                for ends in zip(*((r.low, r.high) for _, r in points), strict=True)
            )
            axes.fill_between(values, low, high, color=own.colour, alpha=0.15, linewidth=0)
        for place, start, end in crossings:
            axes.axvline(place, color="grey", linewidth=1, linestyle=":")
            if start is not None and end is not None:
                axes.axvspan(start, end, color="grey", alpha=0.15, linewidth=0)
        axes.set_xticks(curves.values, [f"{value:g}" for value in curves.values])
        axes.minorticks_off()
        axes.set_xlabel(curves.across)
        axes.set_ylabel(curves.question.metric)
        key(axes)

    said = "; ".join(
        f"{','.join(g)}: " + ", ".join(format_number(r.mean) for _, r in points) for g, points in lines.items()
    )
    at = ", ".join(f"{place:.3g}" for place, _, _ in crossings) or "none"
    caption = f"means along {curves.across} with 95 % intervals; a dotted line marks a crossing, the band its interval"
    alt = (
        f"Line plot of {curves.question.metric} along {curves.across}, {curves.values[0]:g} to {curves.values[-1]:g}. "
    )
    alt += f"{said}. Crossings: {at}."
    return Plot("crossover", caption, alt, draw)


def critical_difference(ranking: Ranking, look: Mapping[Group, Look]) -> Plot:
    """Show mean ranks on a line; a bar joins groups that lie within the critical difference (Demsar, 2006)."""
    names = [",".join(group) for group in ranking.groups]

    def draw(axes: Axes) -> None:
        k = len(names)
        for place, (name, rank, group) in enumerate(zip(names, ranking.ranks, ranking.groups, strict=True)):
            height = k - place  # so that no line crosses the name of one before it
            axes.plot([rank, rank], [0, height], color="grey", linewidth=0.8)
            axes.annotate(f"{name}  {rank:.2f}", (rank, height), xytext=(4, 0), textcoords="offset points", va="center")
            axes.plot([rank], [0], color=look[group].colour, marker=look[group].marker, clip_on=False)
        for height, (first, last) in enumerate(together(ranking.ranks, ranking.critical)):
            axes.plot(
                [ranking.ranks[first], ranking.ranks[last]], [-0.4 - 0.25 * height] * 2, linewidth=3, color="grey"
            )
        axes.set_xlim(1, k + 0.6)
        axes.set_ylim(-1 - 0.25 * k, k + 0.7)
        axes.set_xticks(range(1, k + 1))
        axes.set_yticks([])
        axes.spines[["left"]].set_visible(False)
        axes.set_xlabel("mean rank, 1 is the best")

    said = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(names, ranking.ranks, strict=True))
    bars = "" if ranking.critical is None else f"; bars join what lies within {ranking.critical:.2f} of each other"
    return Plot(
        "ranks",
        f"mean ranks over {len(ranking.blocks)} values of {', '.join(ranking.over)}{bars}",
        f"Mean ranks: {said}.",
        draw,
        height=2.6,
    )


def together(ranks: Sequence[float], critical: float | None) -> list[tuple[int, int]]:
    """Return the longest stretches of groups within the critical difference."""
    if critical is None:
        return []
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(place for place in range(first, len(ranks)) if ranks[place] - ranks[first] < critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
