"""A model of all five kinds, small enough to train in milliseconds, and batches for it."""

import numpy as np
import torch
from torch import Tensor, nn

from mmrun.models.multimodal import Multimodal
from mmrun.tasks.classification import Classification
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Encoder, Features, Fusion

KINDS = {"photo": "image", "title": "text", "sound": "audio", "cells": "tabular", "sensor": "series"}
DIM = 12
DIMS = dict.fromkeys(KINDS, DIM)
FACTS = {
    "photo": {"in_channels": 1, "image_size": 8},
    "title": {"vocab_size": 20, "max_tokens": 10, "pad_id": 0, "mask_id": 4},
    "sound": {"sample_rate": 8000, "num_samples": 2000},
    "cells": {"num_numeric": 3, "cardinalities": [4, 5]},
    "sensor": {"in_channels": 2, "num_steps": 12},
}
TASKS = {
    "label": Classification("label", ["a", "b", "c"], np.array([4, 2, 2])),
    "age": Regression("age", ["age"], np.zeros(1), np.ones(1)),
}
SIZES = {"image": 64, "audio": 2000, "tabular": 3 + 3 + 4 + 5, "series": 24 + 12}


class Flat(Encoder):
    """One linear layer on all that a row holds."""

    dim = DIM

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(SIZES[kind], DIM)

    def forward(self, x: Tensor | dict[str, Tensor]) -> Features:
        if self.kind == "image":
            parts = [x]
        elif self.kind == "audio":
            parts = [x["waveform"]]
        elif self.kind == "series":
            parts = [x["values"], x["mask"]]
        else:
            columns = [nn.functional.one_hot(x["categorical"][:, i], n) for i, n in enumerate((4, 5))]
            parts = [x["numeric"], x["missing"], *columns]
        return Features(self.linear(torch.cat([part.flatten(1).float() for part in parts], 1)))


class Words(Encoder):
    """Embeddings; tokens read their running mean, so nothing to the right of them, and pooled is the mean of all."""

    kind, dim = "text", DIM

    def __init__(self, tokens: bool = True) -> None:
        super().__init__()
        self.tokens = tokens
        self.embed = nn.Embedding(20, DIM)
        self.mix = nn.Linear(DIM, DIM)

    def forward(self, x: dict[str, Tensor]) -> Features:
        embedded = self.embed(x["ids"])
        real = x["mask"].unsqueeze(-1)
        pooled = (embedded * real).sum(1) / real.sum(1).clamp(min=1)
        if not self.tokens:
            return Features(pooled)
        running = embedded.cumsum(1) / torch.arange(1, embedded.shape[1] + 1, device=embedded.device).unsqueeze(1)
        return Features(pooled, self.mix(embedded + running), x["mask"])


class Side(Fusion):
    """Pooled vectors side by side, then one layer."""

    dim = 6

    def __init__(self, modalities: list[str]) -> None:
        super().__init__()
        self.linear = nn.Linear(len(modalities) * DIM, self.dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        parts = [own.pooled.where(present[name].unsqueeze(1), 0) for name, own in features.items()]
        return self.linear(torch.cat(parts, 1))


def model(*modalities: str, tokens: bool = True) -> Multimodal:
    """Make the model, of all modalities or of these."""
    torch.manual_seed(0)
    names = modalities or tuple(KINDS)
    encoders = {name: Words(tokens) if KINDS[name] == "text" else Flat(KINDS[name]) for name in names}
    return Multimodal(encoders, Side(list(names)), TASKS)


def batch(*modalities: str, rows: int = 8) -> Batch:
    """Make random rows in which everything is present."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.tensor([10, 3] * (rows // 2))
    inputs = {
        "photo": torch.rand(rows, 1, 8, 8, generator=draw),
        "title": {
            "ids": torch.randint(5, 20, (rows, 10), generator=draw),
            "mask": torch.arange(10) < lengths.unsqueeze(1),
        },
        "sound": {
            "waveform": torch.rand(rows, 2000, generator=draw) - 0.5 + torch.linspace(-0.2, 0.2, rows).unsqueeze(1),
            "length": torch.tensor([2000, 900] * (rows // 2)),
        },
        "cells": {
            "numeric": torch.randn(rows, 3, generator=draw),
            "missing": torch.zeros(rows, 3, dtype=torch.bool),
            "categorical": torch.randint(1, 4, (rows, 2), generator=draw),
        },
        "sensor": {
            "values": torch.randn(rows, 2, 12, generator=draw),
            "mask": torch.arange(12).expand(rows, 12) < 9,
        },
    }
    names = modalities or tuple(KINDS)
    present = {name: torch.ones(rows, dtype=torch.bool) for name in names}
    targets = {"label": torch.arange(rows) % 3, "age": torch.arange(rows) / rows}
    return Batch({name: inputs[name] for name in names}, present, targets, torch.arange(rows))
