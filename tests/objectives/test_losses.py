"""Sums and means of losses, and targets that are hidden."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.losses import build_losses, check_choice, hide_targets, masked_mean, sum_losses
from mmrun.testing.examples import TASKS

VISIBLE = torch.tensor([True, False])


def test_a_single_loss_is_returned_unchanged():
    loss = torch.tensor(2.0)
    assert sum_losses([loss]) is loss
    assert sum_losses([loss, torch.tensor(3.0)]).item() == 5.0


def test_rows_that_are_not_selected_do_not_count():
    assert masked_mean(torch.tensor([4.0, torch.nan]), VISIBLE).item() == 4.0
    assert masked_mean(torch.tensor([torch.inf, torch.nan]), ~VISIBLE & VISIBLE).item() == 0.0


def test_hidden_classes_are_minus_100_and_hidden_numbers_nan():
    assert hide_targets(torch.tensor([3, 4]), VISIBLE).tolist() == [3, -100]
    numbers = hide_targets(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), VISIBLE)
    assert numbers[0].tolist() == [1.0, 2.0]
    assert numbers[1].isnan().all()


def test_a_task_keeps_its_own_loss_unless_another_is_chosen():
    target, output = torch.tensor([1.0, 3.0]), torch.zeros(2, 1)
    age = TASKS["age"]
    assert build_losses({"age": age})["age"](output, target).equal(age.loss(output, target))
    assert build_losses({"age": age}, {"regression": "l1"})["age"](output, target).item() == 2.0


def test_a_choice_that_does_not_exist_is_an_error_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        check_choice("objective.loss.regression", "hubr", ("mse", "l1", "huber"))
    assert str(caught.value) == (
        "objective.loss.regression: 'hubr' is not one of mse, l1, huber; did you mean 'huber'?"
    )
