"""Means and weights over the modalities that are present."""

import torch

from mmrun.models.fusions.presence import masked_mean, masked_softmax


def test_masked_mean_and_softmax_leave_out_what_is_masked():
    values = torch.tensor([[[1.0], [3.0], [float("nan")]], [[5.0], [7.0], [9.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(values, mask).tolist() == [[2.0], [0.0]]
    scores = torch.tensor([[0.0, 0.0, float("inf")], [1.0, 2.0, 3.0]])
    assert masked_softmax(scores, mask, dim=1).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
