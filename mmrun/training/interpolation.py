"""Weights between those that a stage starts from and those that it trains."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Interpolation:
    """Interpolate initial and trained weights: (1 - share) * initial + share * trained.

    This is WiSE-FT (Wortsman et al., 2022). Unlike a moving average, it changes nothing while the weights are trained.

    Args:
        named_parameters: the weights that are trained, before training.
        share: of the trained weights, between 0 and 1.

    Attributes:
        averages: the initial weights by parameter name.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]], share: float) -> None:
        self.share = share
        self.weights = dict(named_parameters)
        self.averages = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def update(self, step: int) -> None:
        """Do nothing: the initial weights stay as they are.

        Args:
            step: optimizer steps taken so far.
        """

    def load_state_dict(self, averages: dict[str, Tensor]) -> None:
        """Restore saved initial weights.

        Args:
            averages: by parameter name, with the shapes of the parameters.
        """
        for name, initial in averages.items():
            self.averages[name].copy_(initial)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Use the interpolated weights as those of the model while the context is open."""
        trained = {name: weight.data for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.data = torch.lerp(self.averages[name], weight.data, self.share)
        try:
            yield
        finally:
            for name, weight in self.weights.items():
                weight.data = trained[name]
