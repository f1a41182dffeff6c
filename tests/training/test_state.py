import json

import pytest
import torch

from mmrun.training.budget import StageBudget
from mmrun.training.state import FitConfig, RunningMean, TrainState


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1.0, 1.0, 1.0]), ("linear", [1.0, 0.5, 0.0]), ("cosine", [1.0, 0.5, 0.0])],
)
def test_schedules(schedule, expected):
    config = FitConfig(StageBudget(steps=1), 1, schedule=schedule)
    assert [config.lr_factor(spent) for spent in (0.0, 0.5, 1.0)] == pytest.approx(expected)


def test_warm_up_rises_to_the_full_rate():
    config = FitConfig(StageBudget(steps=1), 1, schedule="linear", warmup=0.1)
    assert 0 < config.lr_factor(0.0) < config.lr_factor(0.05) < config.lr_factor(0.1) == 1.0


def test_means_are_those_of_losses_that_a_later_step_overwrites():
    losses, loss = RunningMean(), torch.tensor(1.0)
    losses.add({"loss": loss})
    loss.fill_(3.0)  # as the replay of a CUDA graph does
    losses.add({"loss": loss})
    assert losses.pop() == {"loss": torch.tensor(2.0)}


def test_the_train_state_survives_json():
    state = TrainState(step=7, seconds=1.5, best=0.25, best_step=4, stale=1)
    state.losses.add({"loss": torch.tensor(0.1)})
    restored = TrainState.from_state_dict(json.loads(json.dumps(state.state_dict())))
    assert restored.state_dict() == state.state_dict()
    assert restored.losses.pop() == {"loss": torch.tensor(0.1)}


def test_means_are_over_the_steps_since_they_were_last_read():
    losses = RunningMean()
    for value in (1.0, 3.0):
        losses.add({"loss": torch.tensor(value)})
    assert losses.pop() == {"loss": torch.tensor(2.0)}
    losses.add({"loss": torch.tensor(7.0)})
    assert losses.pop() == {"loss": torch.tensor(7.0)}


@pytest.mark.parametrize(("higher_is_better", "best", "stale"), [(True, 0.5, 2), (False, 0.2, 0)])
def test_the_best_value_and_how_old_it_is(higher_is_better, best, stale):
    state = TrainState()
    for state.step, value in enumerate((0.5, 0.3, 0.2), start=1):
        state.update_best(value, higher_is_better)
    assert (state.best, state.stale) == (best, stale)
    assert state.best_step == 3 - stale


def test_of_equal_values_the_later_is_the_best_but_early_stopping_does_not_wait_longer():
    state = TrainState()
    for state.step, value in enumerate((0.5, 0.7, 0.7, 0.6), start=1):
        state.update_best(value, higher_is_better=True)
    assert (state.best, state.best_step, state.stale) == (0.7, 3, 2)


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_what_is_not_finite_is_never_the_best_and_does_not_stand_in_its_way(higher_is_better):
    state = TrainState()
    values = [float("nan"), 0.5, float("nan"), float("inf"), -float("inf"), 0.5]
    assert [state.update_best(value, higher_is_better) for value in values] == [False, True, False, False, False, True]
    assert (state.best, state.stale) == (0.5, 4)
    resumed = TrainState(best=float("nan"))  # as version 0.1.0 may have stored it
    assert resumed.update_best(0.1, higher_is_better)
