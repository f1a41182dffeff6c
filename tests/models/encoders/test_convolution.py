"""Blocks of convolutions."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.encoders.convolution import Convolutions, check_blocks


@pytest.mark.parametrize(
    ("channels", "kernels", "message"),
    [
        ([8, 16], [3], "channels=[8, 16] and kernels=[3]: give one of each per block"),
        ([8, 16], [3, 4], "kernels=[3, 4]: kernel sizes must be odd"),
    ],
)
def test_blocks_that_do_not_fit_are_rejected(channels, kernels, message):
    check_blocks([8, 16], [3, 5])
    with pytest.raises(ConfigError) as caught:
        check_blocks(channels, kernels)
    assert str(caught.value) == message


def test_the_last_channels_are_those_of_the_output():
    assert Convolutions(3, [8, 16], [3, 5])(torch.rand(2, 3, 16, 16)).shape[:2] == (2, 16)
