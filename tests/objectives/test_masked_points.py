"""Masked points: what is hidden, and the distance that counts."""

import torch

from mmrun.objectives.masked_points import MaskPoints, draw_hidden_points
from mmrun.types import Features
from tests.objectives.single import Fixed

MASK = torch.arange(40) < torch.tensor([[40], [20], [1], [0]])


def draw_cloud():
    torch.manual_seed(0)
    return {"points": torch.randn(4, 5, 40) * MASK.unsqueeze(1), "mask": MASK}


def test_some_blocks_are_hidden_and_never_all():
    x = draw_cloud()
    for ratio in (0.01, 0.6, 1.0):
        hidden = draw_hidden_points(x["points"][:, :3], MASK, ratio, 8)
        assert not (hidden & ~MASK).any()
        assert (hidden.sum(1) > 0).tolist() == [True, True, False, False]
        assert ((MASK & ~hidden).sum(1) > 0).tolist() == [True, True, True, False]


def test_a_hidden_block_is_in_one_place():
    torch.manual_seed(0)
    line = torch.zeros(50, 3, 40)
    line[:, 0] = torch.arange(40.0)
    hidden = draw_hidden_points(line, torch.ones(50, 40, dtype=torch.bool), 0.01, 8)
    assert ((hidden[:, 1:] & ~hidden[:, :-1]).sum(1) + hidden[:, 0] == 1).all()


def test_the_encoder_sees_the_others_and_the_loss_counts_the_hidden():
    x, pretext = draw_cloud(), MaskPoints(dim=6, num_decoded=7)
    seen, target = pretext.corrupt(x, MASK.any(1))
    assert not (seen["mask"] & target["hidden"]).any()
    assert torch.equal(seen["mask"] | target["hidden"], MASK)
    assert not seen["points"].masked_select(target["hidden"].unsqueeze(1)).any()
    losses = pretext.loss(Features(torch.zeros(4, 6)), target)
    assert (losses > 0).tolist() == [True, True, False, False]
    losses.sum().backward()
    assert all(p.grad.isfinite().all() for p in pretext.parameters())


def test_points_at_the_right_places_cost_nothing():
    pretext = MaskPoints(dim=2, num_decoded=2)
    pretext.decoder = Fixed(torch.tensor([[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]]))
    coordinates = torch.tensor([[[1.0, 4.0, 9.0], [2.0, 5.0, 9.0], [3.0, 6.0, 9.0]]])
    target = {"coordinates": coordinates, "hidden": torch.tensor([[True, True, False]])}
    assert pretext.loss(Features(torch.zeros(1, 2)), target).tolist() == [0]
    shifted = {**target, "coordinates": coordinates + torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1)}
    assert pretext.loss(Features(torch.zeros(1, 2)), shifted).tolist() == [2]  # 1 there and 1 back
