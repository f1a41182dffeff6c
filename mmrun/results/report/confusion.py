"""The plot of a confusion matrix, of one run or of a group of runs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mmrun.results.classification import select_most_confused
from mmrun.results.report.charts import draw_heatmap, shorten_name
from mmrun.results.report.plots import Plot

MAX_CLASSES = 20  # with more, a confusion matrix cannot be read
MAX_LETTERS = 20  # of a class name
CELL, LETTER_WIDTH = 0.27, 0.07  # inches


def plot_confusion(title: str, names: Sequence[str], counts: np.ndarray, rows: str) -> Plot:
    """Plot a confusion matrix, normalised over the true classes.

    Args:
        title: what predicted.
        names: of the C classes.
        counts: [C, C]; a row is a true class, a column a predicted one.
        rows: which rows were counted, for the caption.

    Returns:
        A heat map; cells are percentages of the true class. Of more than MAX_CLASSES classes, those of the most
        frequent errors are drawn.
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shown = select_most_confused(counts, MAX_CLASSES)
    shown_names = [shorten_name(names[number], MAX_LETTERS) for number in shown]

    def draw(axes: Axes) -> None:
        draw_heatmap(axes, shares[np.ix_(shown, shown)], shown_names, shown_names, _format_percentage, 0, 1)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")

    errors = counts - np.diag(counts.diagonal())
    true, predicted = map(int, np.unravel_index(errors.argmax(), errors.shape))
    if errors[true, predicted]:
        error = f"{names[true]} predicted as {names[predicted]}: {shares[true, predicted]:.0%}"
        description = f"the most frequent error is {error}"
    else:
        description = "no errors"
    selected = "" if len(shown) == len(names) else f", the {len(shown)} most confused of {len(names):,} classes"
    caption = f"{title}: confusion, % of each true class{selected}, {rows}"
    alt = f"Confusion matrix of {title}; {description}."
    side = max(3.2, 1.2 + CELL * len(shown) + LETTER_WIDTH * max(map(len, shown_names)))
    return Plot("confusion", caption, alt, draw, side, side)


def _format_percentage(share: float) -> str:
    return f"{share * 100:.0f}" if share >= 0.005 else ""
