"""Random rows of three modalities."""

import torch
from torch import Tensor

from mmrun.types import Features

DIMS = {"image": 3, "text": 2, "audio": 4}
YES, NO = torch.tensor([True, True]), torch.tensor([False, False])


def make_rows(*modalities: str) -> tuple[dict[str, Tensor], dict[str, Features], dict[str, Tensor]]:
    """Return two rows of random pooled features, as tensors and as a fusion reads them, and that all are present."""
    x = {name: torch.randn(2, DIMS[name]) for name in modalities}
    return x, {name: Features(value) for name, value in x.items()}, dict.fromkeys(modalities, YES)


def select_dims(*modalities: str) -> dict[str, int]:
    return {name: DIMS[name] for name in modalities}
