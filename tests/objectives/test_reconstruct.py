import pytest
import torch

from mmrun.objectives.reconstruct import Reconstruct
from mmrun.testing.examples import DIM
from mmrun.types import Features
from tests.objectives.single import PRESENT, Fixed


def test_reconstruct_hides_blocks_behind_the_mean_and_keeps_the_rest():
    x = torch.rand(64, 1, 16, 16)
    corrupted, target = Reconstruct(DIM, 1, 16, ratio=0.25, grid=4, noise=0.0).corrupt(x, PRESENT)
    assert torch.equal(target, x)
    unchanged = (corrupted == x).unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)  # [B, 1, 4, 4, 16 pixels of a block]
    assert torch.equal(unchanged.all(-1), unchanged.any(-1))  # whole blocks
    assert unchanged.float().mean().item() == pytest.approx(0.75, abs=0.05)
    hidden = corrupted != x
    assert torch.allclose(corrupted[hidden], x.mean((1, 2, 3), keepdim=True).expand_as(x)[hidden])


def test_reconstruct_of_the_standardised_image_itself_costs_nothing():
    pretext = Reconstruct(DIM, 1, 4)
    dark = torch.rand(2, 1, 4, 4) * 0.1
    deviation, mean = torch.std_mean(dark, (1, 2, 3), keepdim=True)
    pretext.decoder = Fixed((dark - mean) / (deviation + 0.01) + 2.0)
    assert pretext.loss(Features(torch.zeros(2, DIM)), dark).tolist() == pytest.approx([2.0, 2.0])  # half of 2 squared


def test_a_large_image_is_recovered_small():
    assert Reconstruct(DIM, 3, 224, resolution=20).decoder(torch.zeros(2, DIM)).shape == (2, 3, 20, 20)
