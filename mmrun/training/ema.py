"""An exponential moving average of the weights."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average of trainable weights: ema = decay * ema + (1 - decay) * weight.

    Averaging iterates: Polyak & Juditsky, 1992. In the first steps the decay is smaller, (1 + step) / (10 + step), so
    that the initial weights are soon forgotten.

    Args:
        named_parameters: the weights to average.
        decay: per step, between 0 and 1.
    """

    def __init__(self, named_parameters: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        self.decay = decay
        self.weights = dict(named_parameters)
        self.averages = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def update(self, step: int) -> None:
        """Move the averages towards the weights.

        Args:
            step: optimiser steps taken so far.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        weights = [weight.detach() for weight in self.weights.values()]
        torch._foreach_lerp_(list(self.averages.values()), weights, 1 - decay)

    def load_state_dict(self, averages: dict[str, Tensor]) -> None:
        """Restore saved averages.

        Args:
            averages: by parameter name, with the shapes of the parameters.
        """
        for name, average in averages.items():
            self.averages[name].copy_(average)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Use the averages as the weights of the model while the context is open."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, weight in self.weights.items():
            weight.data, self.averages[name] = self.averages[name], weight.data
