"""What several methods of balance share: ratios, changed gradients, recorded features."""

import pytest
import torch

from mmrun.objectives.balance.unimodal import (
    average_others,
    compute_discrepancy_ratio,
    compute_losses_and_features,
    modify_gradients,
    record_features,
)
from mmrun.objectives.task import Task
from tests.objectives.balance.pair import TWO, build_pair, build_rows


def test_the_discrepancy_ratio_is_the_score_over_that_of_the_others():
    every = torch.tensor([True, True, True])
    assert compute_discrepancy_ratio(torch.tensor([0.9, 0.3, 0.3]), every).tolist() == pytest.approx([3.0, 0.5, 0.5])
    some = torch.tensor([True, False, True])
    assert compute_discrepancy_ratio(torch.tensor([0.9, 0.1, 0.3]), some).tolist() == pytest.approx([3.0, 1.0, 1 / 3])
    assert compute_discrepancy_ratio(torch.tensor([0.9, 0.1]), torch.tensor([True, False])).tolist() == [1.0, 1.0]
    assert average_others(torch.tensor([1.0, 2.0, 6.0]), every)[0].tolist() == [4.0, 3.5, 1.5]


def test_gradients_are_changed_on_their_way_and_only_meanwhile():
    learner = build_pair(TWO)
    weight = learner.encoder["a"].linear.weight
    with modify_gradients(learner, {"a": lambda gradient: 2 * gradient}):
        (weight.sum() + weight[0, 0]).backward()  # used twice, changed once: the complete gradient
    assert weight.grad.tolist() == [[4.0, 2.0], [2.0, 2.0]]
    weight.sum().backward()
    assert weight.grad.tolist() == [[5.0, 3.0], [3.0, 3.0]]


def test_the_last_pass_over_the_batch_with_gradients_is_recorded():
    learner = build_pair(TWO)
    encoder, x = learner.encoder["a"], torch.tensor([[1.0, 2.0]])
    with record_features(learner, ["a", "b"], num_rows=1) as recorded:
        for row in (x, 2 * x, torch.cat([x, x])):
            encoder(row)
        with torch.no_grad():
            encoder(3 * x)
    encoder(4 * x)
    assert recorded.keys() == {"a"}
    assert recorded["a"].pooled.tolist() == [[2.0, 4.0]]


def test_stored_features_are_returned_too():
    learner, data = build_pair(TWO), build_rows([[2.0, 0.0]], [[0.0, 1.0]], [0])
    stored = data._replace(inputs={**data.inputs, "a": {"pooled": torch.tensor([[5.0, 5.0]])}})
    _, features = compute_losses_and_features(Task(TWO), learner, stored, ["a", "b"])
    assert [part.pooled.tolist() for part in features.values()] == [[[5.0, 5.0]], [[0.0, 1.0]]]
