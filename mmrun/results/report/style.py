"""How groups are told apart, the same in every picture: colours, marks, lines, and the key that names them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from mmrun.results.selection import Group

# Okabe & Ito (2008): told apart with any colour vision; the yellow, pale on white, comes last
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", ":", "-.")
HATCHES = (None, "///", "xxx", "...")
NAMES_INSIDE = 4  # more would hide what they name
LETTER, LINE = 0.078, 0.19  # inches, of a key's text

Style = dict[str, Any]  # what Matplotlib's functions take


@dataclass(frozen=True)
class Look:
    """How a group is drawn."""

    colour: str
    marker: str
    line: str
    hatch: str | None = None  # of a bar

    def style(self, points: int) -> Style:
        """Return the style of a group's line: colour, dashes, and some markers."""
        every = max(1, points // 6)
        return {"color": self.colour, "linestyle": self.line, "marker": self.marker, "markevery": every}


def looks(groups: Sequence[Group]) -> dict[Group, Look]:
    """Return every group a look of its own: pairs of colour and marker differ for 49, of marker and line for 28."""
    found = {}
    for place, group in enumerate(groups):
        n, round = len(COLOURS), place // len(COLOURS)
        marker = MARKERS[(place + round) % n]
        found[group] = Look(COLOURS[place % n], marker, LINES[round % len(LINES)], HATCHES[round % len(HATCHES)])
    return found


def key(axes: Axes, title: str | None = None, inside: int = NAMES_INSIDE, **place: Any) -> None:
    """Draw the legend: inside the plot where there are few entries, below it where there are many."""
    names = axes.get_legend_handles_labels()[1]
    if len(names) <= inside:
        axes.legend(title=title, **place)
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    columns = 2 if LETTER * max(map(len, names)) + 0.5 < figure.get_figwidth() / 2 else 1
    lines = -(-len(names) // columns) + (title is not None)
    figure.set_figheight(figure.get_figheight() + LINE * lines + 0.1)
    figure.legend(title=title, loc="outside lower center", ncols=columns)
