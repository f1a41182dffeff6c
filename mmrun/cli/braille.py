"""Draws a curve with braille characters, whose dots are a quarter as high and half as wide as a character."""

from collections.abc import Sequence

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bit of each dot of a character, by row and column
BLANK = 0x2800


def draw_curve(x: Sequence[float], y: Sequence[float], width: int, height: int) -> str:
    """Draw a curve, with straight lines between its points.

    Args:
        x: ascending.
        y: at each x.
        width: characters.
        height: lines.

    Returns:
        The lines, separated by line feeds; the highest value is at the top.
    """
    num_columns, num_rows = 2 * width, 4 * height
    low, high = min(y), max(y)
    characters = [[BLANK] * width for _ in range(height)]
    rows = []
    for column in range(num_columns):
        value = _interpolate(x, y, x[0] + (x[-1] - x[0]) * column / (num_columns - 1))
        rows.append(round((high - value) / ((high - low) or 1.0) * (num_rows - 1)))
    for column, row in enumerate(rows):
        previous = rows[max(column - 1, 0)]
        steps = range(row, previous) if row < previous else range(min(previous + 1, row), row + 1)
        for dot in steps:  # more than one where the curve is steep
            characters[dot // 4][column // 2] |= DOTS[dot % 4][column % 2]
    return "\n".join("".join(map(chr, line)) for line in characters)


def _interpolate(x: Sequence[float], y: Sequence[float], position: float) -> float:
    """Return the value at a position between two points."""
    for index in range(1, len(x)):
        if position <= x[index] or index == len(x) - 1:
            share = (position - x[index - 1]) / ((x[index] - x[index - 1]) or 1.0)
            return y[index - 1] + (y[index] - y[index - 1]) * min(share, 1.0)
    return y[0]
