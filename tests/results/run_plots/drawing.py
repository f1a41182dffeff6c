"""Draws a plot, to read the numbers on it."""

from matplotlib.figure import Figure


def draw(plot):
    """Return the axes that a plot was drawn on."""
    axes = Figure().add_subplot()
    plot.draw(axes)
    return axes


def list_legend(axes):
    """Return the texts of a plot's legend, inside or below it."""
    legends = [axes.get_legend(), *axes.figure.legends]
    return [text.get_text() for legend in legends if legend is not None for text in legend.get_texts()]
