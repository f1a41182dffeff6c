"""Ways to draw that several pictures share: bars with their runs, heat maps."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from mmrun.results.report.style import Look, Style, key
from mmrun.results.selection import Group

HEAT = "cividis"  # the same to any colour vision, and in grey


def bars(
    axes: Axes, found: Mapping[Group, Mapping[str, Sequence[float]]], names: Sequence[str], look: Mapping[Group, Look]
) -> None:
    """Draw a bar for each name and group, the mean of its runs; each run is a dot."""
    width, ink = 0.8 / len(found), matplotlib.rcParams["text.color"]
    for place, (group, values) in enumerate(found.items()):
        having = [number for number, name in enumerate(names) if name in values]
        at = np.array(having) + (place - (len(found) - 1) / 2) * width
        means = [np.mean(values[names[number]]) for number in having]
        own = look[group]
        fill: Style = {"color": own.colour, "hatch": own.hatch, "edgecolor": "#ffffff", "linewidth": 0}
        axes.bar(at, means, width * 0.92, label=",".join(group), **fill)
        for x, number in zip(at, having, strict=True):
            each = values[names[number]]
            axes.scatter([x] * len(each), each, s=12, color=ink, linewidths=0, zorder=3)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xticks(range(len(names)), names)
    key(axes, inside=0)


def heat(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    write: Callable[[float], str],
    low: float,
    high: float,
) -> None:
    """Draw a matrix, its first row above, with its figures in the cells."""
    mesh = axes.pcolormesh(values, cmap=HEAT, vmin=low, vmax=max(high, low + 1e-9), edgecolors="none")
    for (row, column), value in np.ndenumerate(values):
        dark = (value - low) / max(high - low, 1e-9) < 0.55
        axes.text(
            column + 0.5,
            row + 0.5,
            write(value),
            ha="center",
            va="center",
            fontsize=8,
            color="#ffffff" if dark else "#101010",
        )
    mesh.set_rasterized(False)
    axes.set_xticks(
        np.arange(len(columns)) + 0.5, columns, rotation=0 if max(map(len, columns)) * len(columns) < 50 else 90
    )
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.invert_yaxis()
