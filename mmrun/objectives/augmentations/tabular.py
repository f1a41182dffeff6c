"""Augmentation of tables."""

from torch import Tensor

from mmrun.objectives.denoise import drop_cells
from mmrun.types import Augmentation
from mmrun.values import NonNegativeFloat, Share


class AugmentTabular(Augmentation):
    """Noise on numbers, and cells that go missing (Vincent et al., 2010).

    Args:
        noise: standard deviation of the noise on standardised numbers.
        drop: probability that a cell goes missing.
    """

    kind = "tabular"

    def __init__(self, noise: NonNegativeFloat = 0.0, drop: Share = 0.0) -> None:
        super().__init__()
        self.noise, self.drop = noise, drop

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each row augmented.

        Args:
            x: table; numbers that are missing stay so.
        """
        return drop_cells(x, self.drop, self.noise)
