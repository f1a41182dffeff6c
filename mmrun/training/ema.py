"""A moving average of the weights, which is steadier than the weights themselves."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Follows weights that learn: average = decay * average + (1 - decay) * weight (Polyak & Juditsky, 1992).

    The decay is smaller at first, (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], decay: float) -> None:
        self.decay = decay
        self.weights = dict(named)
        self.values = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def update(self, step: int) -> None:
        """Move towards the weights after a step."""
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [w.detach() for w in self.weights.values()], 1 - keep)

    def restore(self, values: dict[str, Tensor]) -> None:
        """Go on from values that were saved."""
        for name, value in values.items():
            self.values[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the averages for its weights meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, weight in self.weights.items():
            weight.data, self.values[name] = self.values[name], weight.data
