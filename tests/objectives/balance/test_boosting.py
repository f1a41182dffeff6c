"""ReconBoost: turns between joint steps."""

import math

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.balance.boosting import ReconBoost
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, TASKS, build_batch, build_model
from tests.objectives.balance.methods import AGE, compute_gradients
from tests.objectives.balance.pair import BOTH, TWO, build_pair, build_rows


def build_in_turn(modality, kinds=BOTH, tasks=TWO, **arguments):
    balance = ReconBoost(Task(tasks), tasks, kinds, turn_steps=1, rectification_steps=1, **arguments)
    balance.counter.steps = 2 * list(kinds).index(modality) + 1
    return balance


def test_turns_alternate_with_joint_steps():
    balance = ReconBoost(Task(TWO), TWO, BOTH, turn_steps=2, rectification_steps=1)
    assert [balance.find_turn(step) for step in range(8)] == [None, 0, 0, None, 1, 1, None, 0]


def test_rows_that_the_other_modality_gets_right_count_less():
    model, batch = build_pair(TWO), build_rows([[1.0, 0.0], [0.0, 0.0]], [[math.log(3.0), 0.0], [0.0, 0.0]], [0, 1])
    losses = build_in_turn("a", reconcilement=0.8, consolidation=2.0)(model, batch)
    row_losses = math.log(1 + math.exp(-1.0)), math.log(2.0)
    boosting = ((1 - 0.8 * 0.75) * row_losses[0] + (1 - 0.8 * 0.5) * row_losses[1]) / 2
    consolidation = (1 / (1 + math.exp(-1.0)) - 0.75) ** 2 / 2  # of the first row; both classes differ by as much
    assert losses["loss/boosting/a"].item() == pytest.approx(boosting)
    assert losses["loss/consolidation/a"].item() == pytest.approx(consolidation, rel=1e-4)
    assert losses["loss"].item() == pytest.approx(boosting + 2 * consolidation)


def test_a_row_without_another_modality_counts_in_full():
    model, batch = build_pair(TWO), build_rows([[1.0, 0.0]], [[9.0, 0.0]], [0])
    batch.present["b"][:] = False
    losses = build_in_turn("a", reconcilement=1.0)(model, batch)
    assert losses["loss"].item() == pytest.approx(math.log(1 + math.exp(-1.0)))


@pytest.mark.parametrize(("turn", "other"), [("a", "b"), ("b", "a")])
def test_in_a_turn_the_other_encoders_are_fixed(turn, other):
    model, batch = build_pair(TWO), build_rows([[1.0, 0.0]], [[0.5, 0.0]], [0])
    gradients = compute_gradients(build_in_turn(turn), model, batch)
    assert f"encoder.{other}.linear.weight" not in gradients
    assert gradients[f"encoder.{turn}.linear.weight"].any()


def test_a_joint_step_is_that_of_the_wrapped_objective():
    model, batch = build_pair(TWO), build_rows([[1.0, 0.0]], [[0.5, 0.0]], [0])
    assert ReconBoost(Task(TWO), TWO, BOTH)(model, batch) == Task(TWO)(model, batch)


def test_the_turn_is_part_of_the_state():
    balance = ReconBoost(Task(TWO), TWO, BOTH)
    for _ in range(5):
        balance.on_step_end(build_pair(TWO))
    fresh = ReconBoost(Task(TWO), TWO, BOTH)
    fresh.load_state_dict(balance.state_dict())
    assert fresh.counter.steps == 5


@pytest.mark.parametrize("modality", KINDS)
@pytest.mark.parametrize("change", [None, "present", "target"])
def test_every_turn_of_a_run_with_several_tasks_has_finite_gradients(modality, change):
    model, batch = build_model(), build_batch()
    if change == "present":
        batch.present[modality][:] = False
    if change == "target":
        batch.targets["label"][:] = -100
    gradients = compute_gradients(build_in_turn(modality, KINDS, TASKS), model, batch)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_numbers_alone_are_refused():
    with pytest.raises(ConfigError) as caught:
        ReconBoost(Task({"age": AGE}), {"age": AGE}, BOTH)
    assert str(caught.value) == (
        "balance: reconboost compares probabilities, and no task has classes or labels (there are age); choose agm, "
        "gradient_blending, lfm, pcgrad, mmpareto or umt"
    )


def test_the_counter_costs_the_device_nothing():
    assert ReconBoost(Task(TWO), TWO, BOTH).counter.state_dict() == {"_extra_state": torch.tensor(0)}
