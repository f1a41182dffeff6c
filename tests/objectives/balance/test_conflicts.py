"""PCGrad and MMPareto on literal cases."""

import math

import pytest
import torch

from mmrun.objectives.balance.conflicts import MMPareto, Pcgrad, min_norm_weight, project_conflicts
from mmrun.objectives.task import Task
from mmrun.testing.examples import DIMS, KINDS, TASKS, build_batch, build_model
from tests.objectives.balance.methods import compute_gradients
from tests.objectives.balance.pair import BOTH, TWO, WIDTHS, Fixed, build_pair, build_rows


def test_pcgrad_takes_away_the_literal_part_that_conflicts():
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])
    # (1, 0) loses its part along (-1, 1), (-1, 1) its part along (1, 0)
    assert project_conflicts(torch.stack([first, second])).tolist() == pytest.approx([0.5 + 0.0, 0.5 + 1.0])


def test_pcgrad_of_two_hurts_neither_and_is_the_sum_where_they_agree():
    torch.manual_seed(0)
    agreed = 0
    for first, second in torch.randn(200, 2, 5):
        result = project_conflicts(torch.stack([first, second]))
        assert result @ first > -1e-5
        assert result @ second > -1e-5
        if first @ second >= 0:
            agreed += 1
            assert torch.allclose(result, first + second)
    assert 50 < agreed < 150


def test_pcgrad_in_a_model_weighs_the_tasks_as_the_objective_does_and_loses_nothing():
    """Without conflicts, and for heads always, it is the sum of all gradients."""
    learner, data = build_model(), build_batch()
    for weights in ({}, {"age": 7.0}):
        balance = Pcgrad(Task(TASKS, weights), TASKS, KINDS, DIMS, unimodal_weight=0.5)
        summed = torch.autograd.grad(balance(learner, data)["loss"], list(learner.parameters()), allow_unused=True)
        names = [name for name, _ in learner.named_parameters()]
        plain = {name: g for name, g in zip(names, summed, strict=True) if g is not None}
        learner.zero_grad()
        changed = compute_gradients(balance, learner, data)
        assert all(torch.allclose(changed[n], plain[n], atol=1e-6) for n in plain if n.startswith("head"))
        assert plain.keys() == changed.keys()


def test_pcgrad_between_tasks_that_conflict():
    tasks = {"x": TWO["label"], "y": TWO["label"]}
    learner, data = build_pair(tasks), build_rows([[1.0, 0.0]], [[0.0, 1.0]], [0])
    balance = Pcgrad(Fixed(("x", [1.0, 0.0]), ("y", [-1.0, 1.0])), tasks, BOTH, WIDTHS, unimodal_weight=0.0)
    result = compute_gradients(balance, learner, data)
    assert result["encoder.a.linear.weight"][0].tolist() == pytest.approx([0.5, 1.5])
    assert "encoder.b.linear.weight" not in result  # no loss reaches it


def build_pareto(gamma=1.0):
    return MMPareto(Task(TWO), TWO, BOTH, WIDTHS, gamma)


def test_the_shortest_combination_is_that_of_a_grid():
    torch.manual_seed(0)
    grid = torch.linspace(0, 1, 2001).unsqueeze(1)
    for first, second in torch.randn(100, 2, 3):
        lengths = (grid * first + (1 - grid) * second).norm(dim=1)
        assert min_norm_weight(first, second).item() == pytest.approx(grid[lengths.argmin()].item(), abs=1e-3)


def test_mmpareto_descends_both_losses_and_is_as_long_as_their_sum():
    torch.manual_seed(0)
    for joint, alone in torch.randn(200, 2, 4):
        combined = build_pareto().combine_gradients(torch.stack([joint, alone]))
        assert min(combined @ joint, combined @ alone) > -1e-5
        assert combined.norm() >= (joint + alone).norm() * (1 - 1e-4)
        if joint @ alone >= 0:
            assert torch.allclose(combined, joint + alone)
        assert torch.allclose(build_pareto(1.5).combine_gradients(torch.stack([joint, alone])), 1.5 * combined)


def test_mmpareto_of_a_literal_conflict():
    joint, alone = torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 1.0])
    weight = 0.4  # of the joint gradient: ((-3, 1) . (-1, 1)) / |(3, -1)|^2
    assert min_norm_weight(joint, alone).item() == pytest.approx(weight)
    combined = 2 * (weight * joint + (1 - weight) * alone)  # (0.4, 1.2), shorter than the sum (1, 1)
    expected = combined * math.sqrt(2) / combined.norm()
    assert build_pareto().combine_gradients(torch.stack([joint, alone])).tolist() == pytest.approx(expected.tolist())
    opposed = torch.stack([joint, -joint])
    assert build_pareto().combine_gradients(opposed).tolist() == [0.0, 0.0]
