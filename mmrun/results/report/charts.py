"""Chart types that several plots share: bars with a dot for each run, and heat maps."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from mmrun.results.report.groups import format_group
from mmrun.results.report.style import PlotKwargs, Styles, draw_legend
from mmrun.results.run_values import Group

MAX_LETTERS = 30  # of a name
COLORMAP = "cividis"  # looks the same to any colour vision, and in grey
LIGHT_TEXT, DARK_TEXT = "#ffffff", "#101010"
DARK_BELOW = 0.55  # of the range of a colour map: darker cells get light text


def draw_bars(
    axes: Axes, values: Mapping[Group, Mapping[str, Sequence[float]]], names: Sequence[str], styles: Styles
) -> None:
    """Draw a bar for each name and group: its height is the mean over the runs, and each run is a dot.

    Args:
        axes: to draw on.
        values: by group, then by name: one for each run. A name may be missing from a group.
        names: along the horizontal axis.
        styles: of the groups.
    """
    width, text_color = 0.8 / len(values), matplotlib.rcParams["text.color"]
    for position, (group, group_values) in enumerate(values.items()):
        indices = [index for index, name in enumerate(names) if name in group_values]
        centers = np.array(indices) + (position - (len(values) - 1) / 2) * width
        means = [np.mean(group_values[names[index]]) for index in indices]
        style = styles[group]
        fill: PlotKwargs = {"color": style.color, "hatch": style.hatch, "edgecolor": "#ffffff", "linewidth": 0}
        axes.bar(centers, means, width * 0.92, label=format_group(group), **fill)
        for center, index in zip(centers, indices, strict=True):
            run_values = group_values[names[index]]
            axes.scatter([center] * len(run_values), run_values, s=12, color=text_color, linewidths=0, zorder=3)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(names)), names)
    draw_legend(axes, max_inside=0)


def draw_heatmap(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    format_value: Callable[[float], str],
    low: float,
    high: float,
) -> None:
    """Draw a matrix as coloured cells, its first row on top, with the value written in each cell.

    Args:
        axes: to draw on.
        values: [rows, columns].
        rows: names of the rows.
        columns: names of the columns; they are turned upright where they would overlap.
        format_value: writes the value of a cell.
        low: value at the lower end of the colour map.
        high: value at its upper end.
    """
    mesh = axes.pcolormesh(values, cmap=COLORMAP, vmin=low, vmax=max(high, low + 1e-9), edgecolors="none")
    for (row, column), value in np.ndenumerate(values):
        is_dark = (value - low) / max(high - low, 1e-9) < DARK_BELOW
        text: PlotKwargs = {"ha": "center", "va": "center", "fontsize": 8}
        axes.text(column + 0.5, row + 0.5, format_value(value), color=LIGHT_TEXT if is_dark else DARK_TEXT, **text)
    mesh.set_rasterized(False)
    rotation = 0 if max(map(len, columns)) * len(columns) < 50 else 90
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=rotation)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.invert_yaxis()


def shorten_name(name: str, max_letters: int = MAX_LETTERS) -> str:
    """Return a name as one line; of a long one its beginning and its end.

    Args:
        name: of the user: a class, a column or a cell.
        max_letters: of the line.
    """
    line = " ".join(name.split())
    if len(line) <= max_letters:
        return line
    end = (max_letters - 3) // 3
    return f"{line[: max_letters - 3 - end]}...{line[-end:]}"
