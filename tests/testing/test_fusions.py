"""The contract checks of fusions find what breaks the contract."""

import pytest
import torch
from torch import nn

from mmrun.models.fusions.simple import Concat
from mmrun.testing.fusions import (
    CHECKS,
    check_device_and_type,
    check_missing_modalities,
    check_rows_are_independent,
    check_shapes_and_gradients,
)
from mmrun.types import Features, Fusion


class Leaky(Concat):
    """Reads the content of missing modalities."""

    def forward(self, features, present):
        return super().forward(features, {name: torch.ones_like(mask) for name, mask in present.items()})


class Squaring(Concat):
    """Squares missing modalities before it masks them, so that their gradient is 0 * NaN."""

    def forward(self, features, present):
        squared = {}
        for name, mask in present.items():
            squared[name] = Features(torch.where(mask[:, None], features[name].pooled.square(), 0.0))
        return super().forward(squared, present)


class Deaf(Concat):
    """Reads the first modality alone."""

    def forward(self, features, present):
        first = next(iter(features))
        return super().forward(features, {name: mask & (name == first) for name, mask in present.items()})


class Mixing(Concat):
    """Adds the mean over the rows of the batch."""

    def forward(self, features, present):
        fused = super().forward(features, present)
        return fused + fused.mean(0)


class Narrow(Concat):
    """Returns another width than it names."""

    def forward(self, features, present):
        return super().forward(features, present)[:, 1:]


class Idle(Concat):
    """Has a layer that nothing uses."""

    def __init__(self, dims):
        super().__init__(dims)
        self.unused = nn.Linear(2, 2)


class Immovable(Concat):
    """Holds a tensor that is not a buffer."""

    def __init__(self, dims):
        super().__init__(dims)
        self.scale = torch.ones(self.dim)

    def forward(self, features, present):
        return super().forward(features, present) * self.scale


def test_a_fusion_of_ours_passes():
    for check in CHECKS:
        check(lambda dims: Concat(dims), 2, True)


@pytest.mark.parametrize(
    ("fusion", "check", "problem"),
    [
        (Leaky, check_missing_modalities, "7.0 in missing rows changes the result"),
        (Squaring, check_missing_modalities, "inf in missing rows gives image a gradient of NaN"),
        (Deaf, check_rows_are_independent, "text does not change the result"),
        (Mixing, check_rows_are_independent, "Tensor-likes are not close!"),
        (Narrow, check_shapes_and_gradients, "fused vectors (6, 127), not (6, 128)"),
        (Idle, check_shapes_and_gradients, "fusion.unused.weight gets no gradient"),
        (Immovable, check_device_and_type, "is not on the expected device meta"),
    ],
)
def test_a_broken_fusion_is_found(fusion: type[Fusion], check, problem):
    with pytest.raises((AssertionError, RuntimeError)) as caught:
        check(lambda dims: fusion(dims), 2, True)
    assert problem in str(caught.value)
