"""LFM: alignment first, and how much of it held-out rows decide."""

import math

import pytest
import torch

from mmrun.objectives.balance.alignment import Lfm, LfmLearned, compare_gradients
from mmrun.objectives.task import Task
from tests.objectives.balance.methods import scale
from tests.objectives.balance.pair import BOTH, TWO, WIDTHS, build_pair, build_rows

ROWS = [[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 3.0]], [[0.3, 0.1], [0.2, 0.4], [0.5, 0.1], [0.1, 0.9]], [0, 1, 0, 1]


@pytest.mark.parametrize(("step", "alpha"), [(0, 0.95), (10, math.exp(-1)), (20, math.exp(-2)), (100, 0.05)])
def test_the_weight_of_the_alignment_decays(step, alpha):
    balance = Lfm(Task(TWO), BOTH, WIDTHS, decay_steps=10)
    for _ in range(step):
        balance.on_step_end(build_pair(TWO))
    assert balance.compute_alpha().item() == pytest.approx(alpha)


def test_the_loss_is_the_mixture():
    model, batch = build_pair(TWO), build_rows(*ROWS)
    losses = Lfm(Task(TWO), BOTH, WIDTHS, dim=4)(model, batch)
    expected = 0.05 * Task(TWO)(model, batch)["loss"] + 0.95 * losses["loss/alignment"]
    assert losses["loss"].item() == pytest.approx(expected.item())


def test_the_direction_of_held_out_rows_is_compared_with_that_of_the_alignment():
    task, alignment = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    better, worse = torch.tensor([0.0, 2.0]), torch.tensor([2.0, 0.0])
    assert compare_gradients([[task, alignment, better]]).item() == pytest.approx(math.sqrt(0.5))
    assert compare_gradients([[task, alignment, worse]]).item() == pytest.approx(-math.sqrt(0.5))
    assert compare_gradients([[task, alignment, torch.zeros(2)]]).item() == 0.0


def build_learned(**arguments):
    torch.manual_seed(0)
    held_out = torch.tensor([False, False, False, True, True])  # rows are numbered from 1
    return LfmLearned(Task(TWO), TWO, BOTH, WIDTHS, lambda share: held_out, dim=4, **arguments)


def test_alpha_rises_more_where_the_task_losses_mislead_held_out_rows():
    model, moved = build_pair(TWO), []
    for label in ([0, 1, 0, 1], [0, 1, 1, 0]):  # held-out rows like the others, and against them
        batch = build_rows(ROWS[0], ROWS[1], label)
        balance = build_learned(alpha_lr=0.1)
        model.zero_grad()
        balance.backward(model, balance(model, batch), scale)
        balance.on_step_end(model)
        moved.append(balance.alpha.item() - 0.5)
    assert moved[1] > moved[0] + 0.01


def test_a_step_adds_its_mean_cosine_to_alpha():
    balance = build_learned(alpha_lr=0.1)
    for cosine in (1.0, 0.0):
        balance.step_mean.add(torch.tensor(cosine), torch.tensor(1.0))
    balance.on_step_end(build_pair(TWO))
    assert balance.alpha.item() == pytest.approx(0.55)
    balance.on_step_end(build_pair(TWO))  # without any row
    assert balance.alpha.item() == pytest.approx(0.55)


def test_alpha_stays_between_its_bounds():
    assert build_learned(initial_alpha=1.0).alpha.item() == pytest.approx(0.95)
    assert build_learned(initial_alpha=0.0).alpha.item() == pytest.approx(0.05)


def test_the_gradient_is_that_of_the_mixture():
    model, batch, balance = build_pair(TWO), build_rows(*ROWS), build_learned(initial_alpha=0.3)
    losses = balance(model, batch)
    expected = torch.autograd.grad(losses["loss"], list(model.encoder.parameters()), retain_graph=True)
    balance.backward(model, losses, scale)
    for parameter, gradient in zip(model.encoder.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
