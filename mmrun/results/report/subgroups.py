"""The section on subgroups, from `mmrun eval --group`: metrics by the values of a column."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.evaluation_schema import Evaluation, SubgroupMetrics
from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report.evaluation import Evaluations
from mmrun.results.report.groups import describe_groups, drop_empty, format_group, map_groups
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Styles, draw_legend
from mmrun.results.run_values import Group
from mmrun.results.table import Table

MAX_VALUES = 20  # values that are plotted: the largest, and the worst one of each group of runs

MeanByValue = dict[str, float]  # by value of the column


class GroupMetrics(NamedTuple):
    """A metric of one group of runs, averaged over the runs.

    Args:
        num_runs: that were evaluated by the column.
        overall: on all rows.
        by_value: on the rows of each value of the column, the largest value first.
    """

    num_runs: int
    overall: float
    by_value: MeanByValue

    @property
    def worst_value(self) -> str:
        """The value of the column with the lowest metric."""
        return min(self.by_value, key=lambda value: self.by_value[value])

    @property
    def worst(self) -> float:
        """The lowest metric of any value."""
        return min(self.by_value.values())


class Column(NamedTuple):
    """The column that makes subgroups.

    Args:
        name: of the column.
        metric: primary metric of the task that is shown.
        rows: number of rows by value of the column, the largest first.
    """

    name: str
    metric: str
    rows: Mapping[str, int]


def build_section(evaluations: Evaluations, metric: str, styles: Styles) -> Section | None:
    """Build the section for the task of a metric, by the column that the first run was evaluated by.

    Args:
        evaluations: by group.
        metric: name of the metric, without its split.
        styles: of the groups.

    Returns:
        The section; None where no run was evaluated by the values of a column.
    """
    task = metric.rpartition(".")[0]
    subgroups = drop_empty(map_groups(lambda group_evaluations: _select_task(group_evaluations, task), evaluations))
    if not subgroups:
        return None
    column = _read_column(subgroups.values())
    metrics: dict[Group, GroupMetrics] = {}
    for group, group_metrics in subgroups.items():
        same_column = _select_column(group_metrics, column.name)
        by_value = _average_by_value(same_column, column.metric)
        if by_value:
            overall = float(np.mean([evaluation["metrics"][metric] for evaluation in evaluations[group]]))
            metrics[group] = GroupMetrics(len(same_column), overall, by_value)
    if not metrics:
        return None
    text = "With many values and few rows per value, some value scores badly by chance: check the number of rows."
    tables = [_tabulate_worst(metrics, column), _tabulate_values(metrics, column)]
    return Section(f"By {column.name}", text, tables, [plot_subgroups(metrics, column, styles)])


def _select_task(evaluations: Iterable[Evaluation], task: str) -> list[SubgroupMetrics]:
    """Return the subgroups of a task, or of a run's first task, for the runs that have any."""
    selected = []
    for evaluation in evaluations:
        by_task = evaluation.get("groups", {})
        if by_task:
            selected.append(by_task[task] if task in by_task else next(iter(by_task.values())))
    return selected


def _read_column(groups: Iterable[Sequence[SubgroupMetrics]]) -> Column:
    """Return the first run's column, with the number of rows of each value averaged over the runs."""
    runs = list(chain.from_iterable(groups))
    name = runs[0]["column"]
    rows = {}
    for value, mean in _average_by_value(_select_column(runs, name), "rows").items():
        rows[value] = int(mean)
    return Column(name, runs[0]["primary_metric"], rows)


def _select_column(runs: Iterable[SubgroupMetrics], name: str) -> list[SubgroupMetrics]:
    return [run for run in runs if run["column"] == name]


def _average_by_value(runs: Iterable[SubgroupMetrics], metric: str) -> MeanByValue:
    """Return the mean over runs by value of the column, in the order of the first run: the largest value first."""
    run_values: dict[str, list[float]] = {}
    for run in runs:
        for value, metrics in run["groups"].items():
            measured = metrics.get(metric)
            if measured is not None:
                run_values.setdefault(value or "(empty)", []).append(measured)
    return {value: float(np.mean(measured)) for value, measured in run_values.items()}


def _tabulate_worst(metrics: Mapping[Group, GroupMetrics], column: Column) -> Table:
    rows = []
    for group, group_metrics in metrics.items():
        cells = [
            format_group(group),
            group_metrics.worst_value,
            str(group_metrics.num_runs),
            format_number(group_metrics.overall),
        ]
        cells += [format_number(group_metrics.worst), format_signed(group_metrics.worst - group_metrics.overall)]
        rows.append([*cells, str(column.rows[group_metrics.worst_value])])
    header = ["group", f"worst {column.name}", "runs", "all rows", "worst", "difference", "rows of the worst"]
    return Table(f"{column.metric}: the worst {column.name}, means over runs", header, rows, 2)


def _tabulate_values(metrics: Mapping[Group, GroupMetrics], column: Column) -> Table:
    rows = []
    for value, num_rows in column.rows.items():
        cells = [format_number(group_metrics.by_value.get(value)) for group_metrics in metrics.values()]
        rows.append([value, str(num_rows), *cells])
    return Table(f"{column.metric} by {column.name}", [column.name, "rows", *map(format_group, metrics)], rows)


def plot_subgroups(metrics: Mapping[Group, GroupMetrics], column: Column, styles: Styles) -> Plot:
    """Plot the metric of each value of a column.

    Args:
        metrics: by group of runs.
        column: that makes the subgroups.
        styles: of the groups of runs.

    Returns:
        A mark for each value and group of runs; dotted lines are all rows. Of many values the MAX_VALUES largest are
        drawn, and the worst of each group of runs.
    """
    shown = _select_shown(column, metrics.values())

    def describe(group_metrics: GroupMetrics) -> str:
        worst = f"worst {group_metrics.worst_value} {format_number(group_metrics.worst)}"
        return f"{worst}, all {format_number(group_metrics.overall)}"

    more = f", {len(shown)} of {len(column.rows)} values" if len(shown) < len(column.rows) else ""
    caption = f"{column.metric} by {column.name}{more}; dotted lines are all rows"
    alt = f"Dot plot of {column.metric} by {column.name}. {describe_groups(metrics, describe)}."
    return Plot("worst", caption, alt, _make_drawer(metrics, column, shown, styles), height=1.4 + 0.28 * len(shown))


def _select_shown(column: Column, groups: Iterable[GroupMetrics]) -> list[str]:
    """Return the values that are plotted, in the order of the column."""
    worst = {group_metrics.worst_value for group_metrics in groups}
    shown = []
    for index, value in enumerate(column.rows):
        if index < MAX_VALUES or value in worst:
            shown.append(value)
    return shown


def _make_drawer(
    metrics: Mapping[Group, GroupMetrics], column: Column, shown: Sequence[str], styles: Styles
) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for group, group_metrics in metrics.items():
            style = styles[group]
            rows, measured = [], []
            for row, value in enumerate(shown):
                if value in group_metrics.by_value:
                    rows.append(row)
                    measured.append(group_metrics.by_value[value])
            label = format_group(group)
            axes.plot(measured, rows, color=style.color, marker=style.marker, linestyle="none", label=label)
            axes.axvline(group_metrics.overall, color=style.color, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(shown)), [f"{value} ({column.rows[value]})" for value in shown])
        axes.invert_yaxis()
        axes.margins(y=0.5 / len(shown) + 0.05)
        axes.set_xlabel(column.metric)
        axes.set_ylabel(f"{column.name} (rows)")
        draw_legend(axes)

    return draw
