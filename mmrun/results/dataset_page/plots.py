"""The plots of a data set's page: histograms, frequencies and correlations."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mmrun.data.checks.distributions import Distribution, Frequencies
from mmrun.data.checks.statistics import Correlations
from mmrun.data.table import SPLITS
from mmrun.results.report.charts import draw_heatmap, shorten_name
from mmrun.results.report.plots import Plot
from mmrun.results.report.style import assign_styles, draw_legend

STYLES = assign_styles([(split,) for split in SPLITS])
TICK_STEPS = [1, 2, 2.5, 5, 10]
BAR_HEIGHT = 0.26  # inches, of one value


def plot_distribution(name: str, distribution: Distribution) -> Plot:
    """Plot the share of each split's rows in each bin, so that splits of different sizes can be compared.

    Args:
        name: of what was measured, with its unit.
        distribution: of the numbers.
    """
    edges = np.array(distribution.edges)

    def draw(axes: Axes) -> None:
        for split, counts in distribution.counts.items():
            total = sum(counts)
            if total:
                color = STYLES[(split,)].color
                shares = np.array(counts) / total
                axes.stairs(shares, edges, color=color, linewidth=1.6, label=split, fill=False)
                if split == "train":
                    axes.stairs(shares, edges, color=color, alpha=0.2, fill=True)
        axes.set_xlabel(shorten_name(name))
        axes.set_ylabel("share of rows")
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=TICK_STEPS))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        draw_legend(axes)

    numbers = [f"{number:.5g}" for number in (distribution.least, distribution.median, distribution.most)]
    alt = f"Histogram of {name} by split: {numbers[0]} to {numbers[2]}, median {numbers[1]}."
    return Plot("histogram", f"{name}: {numbers[0]} to {numbers[2]}, median {numbers[1]}", alt, draw, 4.2, 2.6)


def plot_frequencies(name: str, frequencies: Frequencies, total_by_split: dict[str, int]) -> Plot:
    """Plot how frequent values are in each split.

    Args:
        name: of the values.
        frequencies: of the values.
        total_by_split: what the counts are shares of.
    """
    values = list(frequencies.counts)
    splits = [split for split in SPLITS if total_by_split[split]]

    def draw(axes: Axes) -> None:
        height = 0.8 / max(1, len(splits))
        for place, split in enumerate(splits):
            style = STYLES[(split,)]
            shares = [frequencies.counts[value][split] / total_by_split[split] for value in values]
            positions = np.arange(len(values)) + (place - (len(splits) - 1) / 2) * height
            axes.barh(positions, shares, height, color=style.color, label=split)
        axes.set_yticks(range(len(values)), [shorten_name(value) or "(empty)" for value in values])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        draw_legend(axes, max_inside=0)

    shown = f"the {len(values)} most frequent of {frequencies.num_different:,}"
    caption = f"{name}: {shown if len(values) < frequencies.num_different else f'{len(values)} values'}"
    most = ", ".join(shorten_name(value) for value in values[:5])
    alt = f"Bars of the share of {name} by split. Most frequent: {most}."
    return Plot("frequencies", caption, alt, draw, 4.6, 1.0 + BAR_HEIGHT * len(values))


def plot_correlations(correlations: Correlations) -> Plot:
    """Plot the correlations between columns as a heat map."""
    names = [shorten_name(name) for name in correlations.names]
    caption = "Pearson correlation between columns of numbers, over the rows that have both"
    alt = f"{caption}: {_describe_strongest(correlations)}."
    size = 1.6 + 0.42 * len(names)
    return Plot("correlations", caption, alt, _make_heatmap(correlations, names), max(4.6, size), max(3.0, size - 0.4))


def _make_heatmap(correlations: Correlations, names: Sequence[str]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        draw_heatmap(axes, np.array(correlations.values), names, names, lambda value: f"{value:.2f}", -1, 1)

    return draw


def _describe_strongest(correlations: Correlations) -> str:
    """Return the pair of columns with the strongest correlation."""
    values = np.abs(np.triu(np.array(correlations.values), 1))
    first, second = np.unravel_index(values.argmax(), values.shape)
    value = correlations.values[int(first)][int(second)]
    return f"the strongest is {correlations.names[first]} and {correlations.names[second]}, {value:.2f}"
