import pytest
import torch

from mmrun.objectives.augmentations.series import AugmentSeries, warp_time


def test_a_series_loses_one_span_and_each_channel_its_scale():
    torch.manual_seed(0)
    x = {"values": torch.ones(300, 2, 20), "mask": (torch.arange(20) < 10).expand(300, 20)}
    changed = AugmentSeries(0.0, 0.5, 0.4)(x)["values"]
    assert not changed[:, :, 10:].any()
    lost = changed[:, 0, :10] == 0
    assert set(lost.sum(1).tolist()) == {0, 1, 2, 3, 4}
    assert (lost.int().diff(dim=1) == 1).sum(1).max() <= 1  # it is in one piece
    assert lost.any(0).all()  # and anywhere
    scale = changed.amax(2)
    assert (scale.min().item(), scale.max().item()) == pytest.approx((0.5, 1.5), abs=0.01)
    assert not torch.allclose(scale[:, 0], scale[:, 1])


def test_warped_time_runs_forwards_at_a_changing_speed_between_the_same_ends():
    torch.manual_seed(0)
    ramp = torch.arange(40.0).expand(200, 2, 40)
    warped = warp_time(ramp, torch.full((200, 1), 30), 0.5)
    assert torch.allclose(warped[:, :, 0], torch.zeros(200, 2))
    assert torch.allclose(warped[:, :, 29], torch.full((200, 2), 29.0), atol=1e-3)
    speed = warped[:, 0, :30].diff(dim=1)
    assert 0.3 < speed.min() < 0.6
    assert 1.3 < speed.max() < 2
    assert warped[:, 0].equal(warped[:, 1])


def test_an_empty_series_stays_empty():
    x = {"values": torch.zeros(2, 1, 8), "mask": torch.zeros(2, 8, dtype=torch.bool)}
    assert not AugmentSeries(0.1, 0.1, 0.1, 0.5)(x)["values"].any()
