"""Prototypes and PMR on literal cases."""

import math

import pytest
import torch

from mmrun.objectives.balance.prototypes import Pmr, Prototypes
from mmrun.objectives.task import Task
from tests.objectives.balance.pair import BOTH, TWO, WIDTHS, build_pair, build_rows


def test_prototypes_are_means_followed_with_momentum():
    prototypes, counted = Prototypes(3, 2, momentum=0.75), torch.tensor([True, True, False])
    x, target = torch.tensor([[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]]), torch.tensor([0, 0, 1])
    near = prototypes(x, target, counted)
    assert prototypes.vectors.tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert near[:, 0].tolist() == pytest.approx([0.0, 0.0, 0.0])  # the only class that was seen
    near = prototypes(torch.tensor([[6.0, 0.0], [0.0, 4.0]]), torch.tensor([0, 1]), torch.tensor([True, True]))
    assert prototypes.vectors.tolist() == [[0.75 * 2 + 0.25 * 6, 0.0], [0.0, 4.0], [0.0, 0.0]]
    assert near[1, :2].tolist() == pytest.approx([-5 - math.log(1 + math.exp(-5)), -math.log(1 + math.exp(-5))])


def test_pmr_helps_the_modality_behind_and_at_first_holds_back_the_one_ahead():
    """Class means of `a` lie 4 apart, those of `b` in one place."""
    learner = build_pair(TWO)
    data = build_rows([[0.0, 0.0], [4.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [0, 1])
    balance = Pmr(Task(TWO), TWO, BOTH, WIDTHS, alpha=2.0, mu=0.1, entropy_steps=1)
    task = Task(TWO)(learner, data)["loss"].item()
    sure, unsure = 1 / (1 + math.exp(-4)), 0.5  # the probabilities of the truth
    slow, fast = min(1.0, sure / unsure - 1), min(1.0, sure / unsure - 1)
    entropy = -sure * math.log(sure) - (1 - sure) * math.log(1 - sure)
    early, late = balance(learner, data)["loss"].item(), balance(learner, data)["loss"].item()
    assert late == pytest.approx(task + 2.0 * slow * math.log(2), rel=1e-5)
    assert early == pytest.approx(late - 0.1 * fast * entropy, rel=1e-5)
