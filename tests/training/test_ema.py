import torch
from torch import nn

from mmrun.training.ema import EMA


def build_ema(decay):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer, EMA(layer.named_parameters(), decay)


def test_the_average_moves_by_one_minus_decay():
    layer, ema = build_ema(decay=0.75)
    nn.init.ones_(layer.weight)
    ema.update(step=1000)
    assert ema.averages["weight"].item() == 0.25


def test_first_steps_forget_the_initial_weights_sooner():
    """The decay after step 1 is (1 + 1) / (10 + 1)."""
    layer, ema = build_ema(decay=0.99)
    nn.init.ones_(layer.weight)
    ema.update(step=1)
    torch.testing.assert_close(ema.averages["weight"], torch.tensor([[9 / 11]]))


def test_averages_replace_the_weights_while_the_context_is_open():
    layer, ema = build_ema(decay=0.75)
    nn.init.ones_(layer.weight)
    ema.update(step=1000)
    with ema.swapped_in():
        assert layer.weight.item() == 0.25
    assert (layer.weight.item(), ema.averages["weight"].item()) == (1.0, 0.25)
