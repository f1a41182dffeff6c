"""The style of each group, the same in every plot: colour, marker, line and hatch; and the legend that names them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from mmrun.results.run_values import Group

# Okabe & Ito (2008), distinguishable with any colour vision; a violet replaces the yellow, which is too pale on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8833EE")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINE_STYLES = ("-", "--", ":", "-.")
HATCHES = (None, "///", "xxx", "...")
ENTRIES_INSIDE = 4  # a legend with more entries would cover the data
LETTER_WIDTH, LINE_HEIGHT = 0.078, 0.19  # inches, of a legend's text
MARKERS_PER_LINE = 6

PlotKwargs = dict[str, Any]  # keyword arguments of Matplotlib's functions


@dataclass(frozen=True)
class GroupStyle:
    """How a group is drawn.

    Args:
        color: as hexadecimal RGB.
        marker: Matplotlib's name of the marker.
        line_style: Matplotlib's name of the dashes.
        hatch: pattern of the group's bars; None: plain.
    """

    color: str
    marker: str
    line_style: str
    hatch: str | None = None

    def line_kwargs(self, num_points: int) -> PlotKwargs:
        """Return the arguments of `Axes.plot` for a line of the group.

        Args:
            num_points: of the line; about six of them get a marker. With 0 every point gets one.

        Returns:
            Colour, dashes, marker and the distance between markers.
        """
        marker_interval = max(1, num_points // MARKERS_PER_LINE)
        return {"color": self.color, "linestyle": self.line_style, "marker": self.marker, "markevery": marker_interval}


Styles = Mapping[Group, GroupStyle]


def assign_styles(groups: Sequence[Group]) -> dict[Group, GroupStyle]:
    """Assign each group a style of its own.

    Args:
        groups: in the order in which they are drawn.

    Returns:
        A style for each group. Pairs of colour and marker repeat after 49 groups, pairs of marker and line after 28.
    """
    styles = {}
    for index, group in enumerate(groups):
        num_colors = len(PALETTE)
        cycle = index // num_colors
        styles[group] = GroupStyle(
            color=PALETTE[index % num_colors],
            marker=MARKERS[(index + cycle) % num_colors],
            line_style=LINE_STYLES[cycle % len(LINE_STYLES)],
            hatch=HATCHES[cycle % len(HATCHES)],
        )
    return styles


def draw_legend(
    axes: Axes, title: str | None = None, max_inside: int = ENTRIES_INSIDE, location: str | None = None
) -> None:
    """Draw the legend: inside the plot where there are few entries, below it where there are many.

    Args:
        axes: with labelled artists.
        title: above the entries.
        max_inside: the largest number of entries that are drawn inside the plot.
        location: Matplotlib's name of the place inside the plot; None: where it covers the least.
    """
    names = axes.get_legend_handles_labels()[1]
    if len(names) <= max_inside:
        axes.legend(title=title, loc=location)
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    columns = 2 if LETTER_WIDTH * max(map(len, names)) + 0.5 < figure.get_figwidth() / 2 else 1
    lines = -(-len(names) // columns) + (title is not None)
    figure.set_figheight(figure.get_figheight() + LINE_HEIGHT * lines + 0.1)
    figure.legend(title=title, loc="outside lower center", ncols=columns)
