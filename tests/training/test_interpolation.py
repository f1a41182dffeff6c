import torch
from torch import nn

from mmrun.training.interpolation import Interpolation


def test_weights_lie_between_the_initial_and_the_trained_ones_while_swapped_in():
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    mixed = Interpolation(layer.named_parameters(), 0.25)
    nn.init.constant_(layer.weight, 3.0)
    mixed.update(1)
    with mixed.swapped_in():
        assert layer.weight.item() == 1.5
    assert layer.weight.item() == 3.0


def test_initial_weights_are_restored():
    layer = nn.Linear(1, 1, bias=False)
    mixed = Interpolation(layer.named_parameters(), 0.5)
    mixed.load_state_dict({"weight": torch.full((1, 1), 5.0)})
    nn.init.constant_(layer.weight, 7.0)
    with mixed.swapped_in():
        assert layer.weight.item() == 6.0
