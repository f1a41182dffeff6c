"""COLA: two segments of a clip."""

import math

import pytest
import torch
from torch import nn

from mmrun.objectives.contrastive_audio import ContrastiveAudio
from mmrun.types import Features

EYE = torch.eye(2)
BOTH = torch.tensor([True, True])


def test_segments_are_pieces_of_the_clip_moved_to_the_front():
    steps = torch.arange(1.0, 101.0).repeat(200, 1)
    length = torch.tensor([100, 40] * 100)
    waveform = steps.where(steps <= length.unsqueeze(1), 0)
    views, _ = ContrastiveAudio(8, share=0.25).corrupt({"waveform": waveform, "length": length}, torch.ones(200) > 0)
    assert views["length"].tolist() == [25, 10] * 200
    begins = views["waveform"][:, 0]
    for row, begin, end in zip(views["waveform"], begins, views["length"], strict=True):
        assert torch.equal(row[:end], begin + torch.arange(end))
        assert not row[end:].any()
    longer = begins[::2]
    assert (longer.min().item(), longer.max().item()) == (1.0, 76.0)  # from the clip's first sample to its last


def test_the_bilinear_similarity_is_compared_with_that_to_other_clips():
    pretext = ContrastiveAudio(2, projection_dim=2)
    pretext.project = nn.Identity()
    with torch.no_grad():
        pretext.bilinear.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    loss = pretext.loss(Features(torch.cat([EYE, EYE])), BOTH)  # similarities [[2, 0], [0, 1]]
    assert loss.tolist() == pytest.approx([math.log1p(math.exp(-2)), math.log1p(math.exp(-1))])
