"""The contract checks of encoders find what breaks the contract."""

import pytest
import torch
from torch import nn

from mmrun.models.encoders.image import Cnn
from mmrun.testing.encoders import (
    CHECKS,
    check_gradients,
    check_padding,
    check_rows_are_independent,
    check_shapes,
    check_state_dict,
)
from mmrun.types import Encoder, Features


class Linear(Encoder):
    """One linear layer on all pixels."""

    kind, dim = "image", 4

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64 * 64, 4)

    def forward(self, x):
        return Features(self.linear(x.flatten(1)))


class Mixing(Linear):
    """Subtracts the mean over the rows."""

    def forward(self, x):
        pooled = super().forward(x).pooled
        return Features(pooled - pooled.mean(0))


class Logarithmic(Linear):
    """Takes logarithms of pixels, which may be 0."""

    def forward(self, x):
        return super().forward(x.log())


class Spreading(Linear):
    """Multiplies the mean over the rows by zero, which keeps its NaN."""

    def forward(self, x):
        pooled = super().forward(x).pooled
        return Features(pooled + 0 * pooled.mean(0))


class Wide(Linear):
    """Returns another width than it names."""

    dim = 5


class Idle(Linear):
    """Has a layer that nothing uses."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)


class Stateless(Linear):
    """Ignores its weights."""

    def forward(self, x):
        return Features(x.flatten(1)[:, :4] + 0 * super().forward(x).pooled.sum())


class ReadsPadding(Encoder):
    """Averages all ids, also those of padding."""

    kind, dim = "text", 1

    def forward(self, x):
        return Features(x["ids"].float().mean(1, keepdim=True))


def test_encoders_of_ours_pass():
    for check in CHECKS:
        check(Cnn(3).eval())


@pytest.mark.parametrize(
    ("encoder", "check", "problem"),
    [
        (Mixing, check_rows_are_independent, "Tensor-likes are not close!"),
        (Logarithmic, check_gradients, "the gradient of linear.weight is not finite"),
        (Spreading, check_rows_are_independent, "Tensor-likes are not close!"),
        (Wide, check_shapes, "pooled (3, 4), not (3, 5)"),
        (Idle, check_gradients, "unused.weight gets no gradient"),
        (Stateless, check_state_dict, "the output does not depend on the state"),
        (ReadsPadding, check_padding, "Tensor-likes are not close!"),
    ],
)
def test_a_broken_encoder_is_found(encoder, check, problem):
    torch.manual_seed(0)
    with pytest.raises(AssertionError) as caught:
        check(encoder().eval())
    assert problem in str(caught.value)
