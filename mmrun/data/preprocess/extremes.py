"""Numbers that are far from most others."""

import numpy as np

MAX_SPREADS = 10  # distances from the 5 % to the 95 % quantile that a number may be beyond them, to go unmentioned


def describe_extremes(subject: str, numbers: np.ndarray, other_numbers: np.ndarray) -> list[str]:
    """Return a line about numbers that are far from most others, such as 9999999 among ages; none if there is none.

    Args:
        subject: what the numbers are, the start of the line.
        numbers: of the training rows [N]; NaN where missing.
        other_numbers: of the other rows [n].
    """
    finite, others = numbers[np.isfinite(numbers)], other_numbers[np.isfinite(other_numbers)]
    if len(finite) == 0:
        return []
    low, high = _find_quantiles(finite, (0.05, 0.95))
    if high == low:  # mostly one value: its neighbours are no outliers
        low, high = _find_quantiles(finite, (0.005, 0.995))
    spread = high - low
    margin = MAX_SPREADS * spread if spread > 0 else MAX_SPREADS * max(abs(high), 1.0)
    lines = []
    for rows, values in (("training", finite), ("other", others)):
        far = values[(values < low - margin) | (values > high + margin)]
        if len(far):
            farthest = far[np.abs(far - high).argmax()]
            lines.append(
                f"{subject}: {len(far)} of {len(values)} numbers of {rows} rows, such as {farthest:.10g}, are far from "
                f"most ({low:.4g} to {high:.4g}); if they mark missing values, empty those cells"
            )
    return lines


def _find_quantiles(numbers: np.ndarray, levels: tuple[float, float]) -> tuple[float, float]:
    """Return the numbers nearest to two quantiles: np.quantile takes ten times as long for a short column."""
    places = [round((len(numbers) - 1) * level) for level in levels]
    low, high = np.partition(numbers, places)[places].tolist()
    return low, high
