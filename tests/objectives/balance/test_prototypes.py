"""Prototypes and PMR on literal cases."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mmrun.objectives.balance.prototypes import Pmr, Prototypes
from mmrun.objectives.task import Task
from mmrun.tasks.classification import Classification
from mmrun.types import Batch
from tests.objectives.balance.pair import BOTH, TWO, WIDTHS, build_pair, build_rows


def test_prototypes_are_means_followed_with_momentum():
    prototypes, counted = Prototypes(3, 2, momentum=0.75), torch.tensor([True, True, False])
    x, target = torch.tensor([[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]]), torch.tensor([0, 0, 1])
    prototypes.collect(x, target, counted)
    prototypes.update()
    assert prototypes.vectors.tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert prototypes(x)[:, 0].tolist() == pytest.approx([0.0, 0.0, 0.0])  # the only class that was seen
    x = torch.tensor([[6.0, 0.0], [0.0, 4.0]])
    prototypes.collect(x, torch.tensor([0, 1]), torch.tensor([True, True]))
    prototypes.update()
    assert prototypes.vectors.tolist() == [[0.75 * 2 + 0.25 * 6, 0.0], [0.0, 4.0], [0.0, 0.0]]
    expected = [-5 - math.log(1 + math.exp(-5)), -math.log(1 + math.exp(-5))]
    assert prototypes(x)[1, :2].tolist() == pytest.approx(expected)


def test_pure_noise_is_scored_at_chance():
    """Of ten classes; prototypes that contain the rows that they score find 0.22."""
    torch.manual_seed(0)
    label = Classification("label", [str(c) for c in range(10)], np.ones(10))
    balance = Pmr(Task({"label": label}), {"label": label}, {"a": "tabular"}, {"a": 128})
    present, scores = {"a": torch.ones(64, dtype=torch.bool)}, []
    for _ in range(100):
        x, target = torch.randn(64, 128), torch.randint(0, 10, (64,))
        scores.append(balance.prototypes["label"]["a"](x).exp().gather(1, target.unsqueeze(1)).mean().item())
        balance._rebalance("label", {"a": x}, Batch({}, present, {"label": target}, torch.arange(64)))
        balance.on_step_end(nn.Identity())
    assert sum(scores) / len(scores) == pytest.approx(0.10, abs=0.01)


def test_a_class_without_a_prototype_does_not_count():
    learner, balance = build_pair(TWO), Pmr(Task(TWO), TWO, BOTH, WIDTHS)
    first = build_rows([[4.0, 0.0]], [[1.0, 0.0]], [0])
    assert balance(learner, first)["loss/prototypes/label"].item() == 0.0
    balance.on_step_end(learner)
    other = build_rows([[0.0, 0.0]], [[1.0, 0.0]], [1])
    assert balance(learner, other)["loss/prototypes/label"].item() == 0.0
    balance.on_step_end(learner)
    assert balance(learner, other)["loss/prototypes/label"].item() > 0.0


def take_step(balance, learner, data):
    losses = balance(learner, data)
    balance.on_step_end(learner)
    return losses


def test_pmr_helps_the_modality_behind_and_at_first_holds_back_the_one_ahead():
    """Class means of `a` lie 4 apart, those of `b` in one place."""
    learner = build_pair(TWO)
    data = build_rows([[0.0, 0.0], [4.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [0, 1])
    balance = Pmr(Task(TWO), TWO, BOTH, WIDTHS, alpha=2.0, mu=0.1, entropy_steps=2)
    task = Task(TWO)(learner, data)["loss"].item()
    sure, unsure = 1 / (1 + math.exp(-4)), 0.5  # the probabilities of the truth
    slow, fast = min(1.0, sure / unsure - 1), min(1.0, sure / unsure - 1)
    entropy = -sure * math.log(sure) - (1 - sure) * math.log(1 - sure)
    first, early, late = (take_step(balance, learner, data)["loss"].item() for _ in range(3))
    assert first == pytest.approx(task)  # there are no prototypes yet
    assert late == pytest.approx(task + 2.0 * slow * math.log(2), rel=1e-5)
    assert early == pytest.approx(late - 0.1 * fast * entropy, rel=1e-5)
