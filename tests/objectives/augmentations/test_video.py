"""Augmentation of videos: all frames change alike."""

import pytest
import torch

from mmrun.objectives.augmentations.video import AugmentVideo


@pytest.mark.parametrize(
    "change", [{"crop": 0.3}, {"flip": 0.5}, {"jitter": 0.8}, {"rotate": 90.0}, {"scale": 0.5}, {"gray": 0.5}]
)
def test_equal_frames_stay_equal_and_videos_differ(change):
    torch.manual_seed(0)
    videos = torch.rand(1, 1, 3, 12, 12).expand(16, 5, -1, -1, -1)  # 16 copies of a still
    changed = AugmentVideo(**change)(videos)
    assert changed.shape == videos.shape
    torch.testing.assert_close(changed, changed[:, :1].expand_as(changed))
    assert (changed[1:] - changed[0]).abs().flatten(1).amax(1).gt(0.01).any()


def test_a_rectangle_is_erased_at_one_place_in_all_frames():
    torch.manual_seed(0)
    erased = AugmentVideo(erase=0.5)(torch.full((8, 4, 1, 16, 16), 0.5)) != 0.5
    assert torch.equal(erased, erased[:, :1].expand_as(erased))
    assert erased.any()
