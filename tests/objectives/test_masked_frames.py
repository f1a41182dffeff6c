"""Masked frames: hidden ones alone count, and half of them is hidden."""

import pytest
import torch

from mmrun.objectives.masked_frames import MaskedFrames
from mmrun.types import Features
from tests.objectives.single import PRESENT, Fixed


def test_hidden_frames_lose_everything_but_their_mean_colour():
    torch.manual_seed(0)
    videos = torch.rand(200, 6, 3, 4, 4)
    corrupted, target = MaskedFrames(8, 3, 4, 6).corrupt(videos, PRESENT)
    hidden = target["hidden"]
    assert torch.equal(corrupted[~hidden], videos[~hidden])
    torch.testing.assert_close(corrupted[hidden], videos[hidden].mean((2, 3), keepdim=True).expand(-1, -1, 4, 4))
    assert hidden.any(1).all()
    assert hidden.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_the_loss_counts_the_hidden_frames_only():
    pretext = MaskedFrames(8, 1, 2, 3)
    video = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).expand(1, 3, 1, 2, 2)
    standardised = (video - 0.5) / (video[0, 0].std() + 0.01)
    decoded = standardised.clone()
    decoded[0, 0] += 2  # half the squared error is 2
    decoded[0, 1] += 9  # visible
    pretext.decoder = Fixed(decoded.flatten(1, 2))
    loss = pretext.loss(Features(torch.zeros(1, 8)), {"video": video, "hidden": torch.tensor([[True, False, True]])})
    assert loss.tolist() == [pytest.approx(1.0)]
