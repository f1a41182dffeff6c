"""The section on subgroups, from `mmrun eval --group`: metrics by the values of a column."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.formatting import format_number, format_signed
from mmrun.results.report.contribution import Kept
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import Section
from mmrun.results.report.style import Look, key
from mmrun.results.selection import Group
from mmrun.results.tables import Table

SHOWN = 20  # values that are drawn: the largest, and those that serve a group of runs worst

Figures = dict[str, float]  # by value of the column


def section(kept: Kept, name: str, look: Mapping[Group, Look]) -> Section | None:
    """Show the task of a figure, by the column that the first run was evaluated by."""
    task = name.rpartition(".")[0]
    every = [said for read in kept.values() for one in read if (said := _of_task(one, task)) is not None]
    if not every:
        return None
    column, primary_metric = every[0]["column"], every[0]["primary_metric"]
    alike = {group: [_of_task(one, task) for one in read] for group, read in kept.items()}
    found = {g: [one for one in read if one is not None and one["column"] == column] for g, read in alike.items()}
    found = {group: read for group, read in found.items() if read}
    rows = {value: int(np.mean(of_value)) for value, of_value in _gathered(every, column, "rows").items()}
    means = {
        g: {v: float(np.mean(f)) for v, f in _gathered(read, column, primary_metric).items()}
        for g, read in found.items()
    }
    means = {group: values for group, values in means.items() if values}
    whole = {group: float(np.mean([one["metrics"][name] for one in kept[group]])) for group in means}
    if not means:
        return None
    worst = _worst(means, whole, rows, {group: len(read) for group, read in found.items()}, column, primary_metric)
    each = _each(means, rows, column, primary_metric)
    text = "With many values and few rows each, one of them is bad by chance: check the number of rows."
    return Section(f"By {column}", text, [worst, each], [picture(means, whole, rows, column, primary_metric, look)])


def _of_task(found: Mapping[str, Any], task: str) -> Any:
    by_task = found.get("groups", {})
    return by_task.get(task, next(iter(by_task.values()), None))


def _gathered(found: Sequence[Mapping[str, Any]], column: str, figure: str) -> dict[str, list[float]]:
    """Return a figure of all runs by value, values in the order of the first run: the largest first."""
    gathered: dict[str, list[float]] = {}
    for one in found:
        for value, figures in one["groups"].items() if one["column"] == column else ():
            if figures.get(figure) is not None:
                gathered.setdefault(value or "(empty)", []).append(figures[figure])
    return gathered


def _worst(
    means: Mapping[Group, Figures],
    whole: Mapping[Group, float],
    rows: Mapping[str, int],
    runs: Mapping[Group, int],
    column: str,
    primary_metric: str,
) -> Table:
    cells = []
    for group, values in means.items():
        worst = min(values, key=lambda value: values[value])
        figure, of_all = values[worst], whole[group]
        figures = [format_number(of_all), format_number(figure), format_signed(figure - of_all), str(rows[worst])]
        cells.append([",".join(group), worst, str(runs[group]), *figures])
    header = ["group", f"worst {column}", "runs", "all rows", "worst", "difference", "rows of the worst"]
    return Table(f"{primary_metric}: the worst {column}, means of the runs", header, cells, 2)


def _each(means: Mapping[Group, Figures], rows: Mapping[str, int], column: str, primary_metric: str) -> Table:
    cells = [[v, str(rows[v]), *(format_number(values.get(v)) for values in means.values())] for v in rows]
    return Table(f"{primary_metric} by {column}", [column, "rows", *(",".join(group) for group in means)], cells)


def picture(
    means: Mapping[Group, Figures],
    whole: Mapping[Group, float],
    rows: Mapping[str, int],
    column: str,
    primary_metric: str,
    look: Mapping[Group, Look],
) -> Plot:
    """Show a mark for each value and group of runs, and as a line what each group of runs reaches on all rows."""
    worst = {min(values, key=lambda value: values[value]) for values in means.values()}
    shown = [value for place, value in enumerate(rows) if place < SHOWN or value in worst]

    def draw(axes: Axes) -> None:
        for group, values in means.items():
            own = look[group]
            having = [place for place, value in enumerate(shown) if value in values]
            figures = [values[shown[place]] for place in having]
            axes.plot(figures, having, color=own.colour, marker=own.marker, linestyle="none", label=",".join(group))
            axes.axvline(whole[group], color=own.colour, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(shown)), [f"{value} ({rows[value]})" for value in shown])
        axes.invert_yaxis()
        axes.margins(y=0.5 / len(shown) + 0.05)
        axes.set_xlabel(primary_metric)
        axes.set_ylabel(f"{column} (rows)")
        key(axes)

    said = "; ".join(
        f"{','.join(group)}: worst {min(values, key=lambda v: values[v])} {format_number(min(values.values()))}, "
        f"all {format_number(whole[group])}"
        for group, values in means.items()
    )
    more = f", {len(shown)} of {len(rows)} values" if len(shown) < len(rows) else ""
    caption = f"{primary_metric} by {column}{more}; dotted lines are all rows"
    height = 1.4 + 0.28 * len(shown)
    return Plot("worst", caption, f"Dot plot of {primary_metric} by {column}. {said}.", draw, height=height)
