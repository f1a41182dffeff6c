import math

import torch

from mmrun.data.visible import count_visible, is_visible, weigh_batch
from mmrun.types import ALL, Batch

BATCH = Batch(
    {},
    {"image": torch.tensor([True, True, False, False])},
    {
        "label": torch.tensor([1, -100, 2, 0]),
        "tags": torch.tensor([[1.0, 0.0], [math.nan, 1.0], [math.nan] * 2, [0, 0]]),
    },
    torch.arange(4),
)
MASKS = {"unlabelled": torch.tensor([False, True, False, False])}


def test_hidden_targets_are_not_visible():
    assert is_visible(torch.tensor([0, -100])).tolist() == [True, False]
    assert is_visible(torch.tensor([[0.0, math.nan]])).tolist() == [[True, False]]


def test_visible_targets_are_counted_by_task_and_modality():
    """All rows, label, tags and the mask; over all rows, and over those with an image."""
    assert count_visible(BATCH, MASKS).tolist() == [[4, 2], [3, 1], [5, 3], [1, 1]]


def test_a_weight_is_the_share_of_the_targets_over_the_share_of_the_rows():
    total = torch.tensor([[8.0, 4.0], [12.0, 4.0], [0.0, 0.0], [1.0, 1.0]])
    weights = weigh_batch(BATCH, MASKS, count_visible(BATCH, MASKS), total).weights
    assert weights is not None
    assert weights[ALL] == {ALL: 1.0, "image": 1.0}  # half of the rows
    assert weights["label"] == {ALL: 0.5, "image": 0.5}  # a quarter of the targets
    assert weights["unlabelled"] == {ALL: 2.0, "image": 2.0}  # all of them


def test_a_whole_batch_is_not_weighed():
    mean = torch.tensor(3.0)
    assert BATCH.weigh(mean, "label") is mean
