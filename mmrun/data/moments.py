"""Mean and standard deviation of training rows, and which deviations are too small to divide by."""

import numpy as np

# Relative to the mean. Below it, a deviation is what rounding to float32 leaves of a constant: dividing by it would
# turn any other value of a later row into a huge number.
MIN_RELATIVE_DEVIATION = float(np.finfo(np.float32).eps)  # 1.2e-7


def drop_rounding_errors(deviation: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return standard deviations in which those of constants are exactly 0.

    Args:
        deviation: of any shape.
        mean: of the same values and shape.
    """
    varies: np.ndarray = deviation > MIN_RELATIVE_DEVIATION * np.abs(mean)
    return np.where(varies, deviation, 0.0)


class Moments:
    """Mean and standard deviation of values that arrive in parts (Chan et al., 1979), without cancellation.

    Args:
        num_channels: C.

    Attributes:
        mean: of the finite values [C], 0 where there is none.
    """

    def __init__(self, num_channels: int) -> None:
        self._count = np.zeros(num_channels)
        self._squares = np.zeros(num_channels)  # squared differences from the mean, summed
        self.mean = np.zeros(num_channels)

    def update(self, values: np.ndarray) -> None:
        """Add values; those that are not finite are left out.

        Args:
            values: [C, T].
        """
        values = values.astype(np.float64)
        is_finite = np.isfinite(values)
        count = is_finite.sum(axis=1)
        mean = np.where(is_finite, values, 0.0).sum(axis=1) / np.maximum(count, 1)
        squares = np.where(is_finite, values - mean[:, None], 0.0) ** 2
        self._combine(count, mean, squares.sum(axis=1))

    def merge(self, other: "Moments") -> None:
        """Add the values of another object.

        Args:
            other: of the same channels.
        """
        self._combine(other._count, other.mean, other._squares)

    def _combine(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        total = np.maximum(self._count + count, 1)
        difference = mean - self.mean
        self._squares = self._squares + squares + difference**2 * self._count * count / total
        self.mean = self.mean + difference * count / total
        self._count = self._count + count

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each channel [C], exactly 0 where all values are equal up to rounding."""
        deviation = np.sqrt(self._squares / np.maximum(self._count, 1))
        return drop_rounding_errors(deviation, self.mean)
