"""A model of two plain modalities, a and b."""

import numpy as np
import torch
from torch import nn

from mmrun.models.multimodal import Multimodal
from mmrun.tasks.classification import Classification
from mmrun.types import Batch, Encoder, Features, Fusion, Objective


class Vector(Encoder):
    """One linear layer."""

    kind, dim = "tabular", 2

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2, bias=False)
        nn.init.eye_(self.linear.weight)

    def forward(self, x):
        return Features(self.linear(x))


class Sum(Fusion):
    """The sum of the modalities that are present."""

    dim = 2

    def forward(self, features, present):
        return torch.stack([f.pooled * present[m].unsqueeze(1) for m, f in features.items()]).sum(0)

    def head(self, num_outputs):
        return nn.Identity()


def build_pair(tasks):
    """Return a model of two modalities, a and b, whose output is the sum of their vectors."""
    return Multimodal({"a": Vector(), "b": Vector()}, Sum(), tasks)


def build_rows(a, b, label, index=None):
    a, b, label = torch.tensor(a), torch.tensor(b), torch.tensor(label)
    present = torch.ones(len(label), dtype=torch.bool)
    numbers = torch.arange(1, 1 + len(label)) if index is None else torch.tensor(index)
    return Batch({"a": a, "b": b}, {"a": present, "b": present.clone()}, {"label": label}, numbers)


TWO = {"label": Classification("label", ["x", "y"], np.array([1, 1]))}
BOTH, WIDTHS = {"a": "tabular", "b": "tabular"}, {"a": 2, "b": 2}


class Fixed(Objective):
    """Losses with literal gradients."""

    returns_task_losses = True

    def __init__(self, *losses) -> None:
        super().__init__()
        self.losses = losses

    def forward(self, model, batch):
        model(batch)
        parts = {f"loss/{n}": (model.encoder["a"].linear.weight[0] * torch.tensor(g)).sum() for n, g in self.losses}
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}
