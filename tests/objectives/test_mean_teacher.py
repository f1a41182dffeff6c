"""The mean teacher: learning from rows without a target."""

import copy

import numpy as np
import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.mean_teacher import MeanTeacher
from mmrun.objectives.task import Task
from mmrun.testing.examples import TASKS, build_batch, build_model
from mmrun.training.cost import flops_per_step
from mmrun.training.learner import Learner
from tests.objectives import few_labels
from tests.objectives.unlabelled import build_mean_teacher, hide_half


def test_the_teacher_is_the_average_of_the_student_s_weights():
    learner, data = build_model(), build_batch()
    objective = build_mean_teacher(learner, decay=0.9)
    weight, followed = learner.encoder["photo"].linear.weight, objective.teacher.model.encoder["photo"].linear.weight
    expected = weight.detach().clone()
    for step in range(1, 5):
        with torch.no_grad():
            weight.normal_()
        expected = torch.lerp(expected, weight.detach(), 1 - min(step / (step + 1), 0.9))
        objective(learner, data)
        objective.on_step_end(learner)
        assert torch.allclose(followed, expected, atol=1e-6)
    assert not list(objective.teacher.parameters())


def test_consistency_is_the_squared_distance_of_the_predictions():
    learner, data = build_model(), hide_half()
    objective = build_mean_teacher(learner, decay=1.0, weight=3.0)
    objective(learner, data)
    with torch.no_grad():
        before = learner(data)
        learner.head["label"].weight.add_(0.5)
        learner.head["age"].bias.add_(2.0)
        after = learner(data)
    objective.decay = 1.0
    objective.step.fill_(1e9)  # late: the teacher hardly moves
    losses = objective(learner, data)
    expected = (after["label"].softmax(1) - before["label"].softmax(1)).square().mean() + (
        after["age"] - before["age"]
    ).square().mean()
    assert losses["loss/consistency"].item() == pytest.approx(expected.item(), rel=1e-4)
    hard = Task(TASKS)(learner, data)["loss"].item()
    assert losses["loss"].item() == pytest.approx(hard + 3 * expected.item(), rel=1e-4)


def test_the_weight_grows_as_in_the_paper():
    objective = build_mean_teacher(build_model(), rampup=10)
    for step, share in ((0, np.exp(-5)), (5, np.exp(-1.25)), (10, 1.0), (99, 1.0)):
        objective.step.fill_(step)
        assert float(objective._ramp()) == pytest.approx(share)


def test_it_goes_on_exactly_from_a_checkpoint():
    def go(objective, learner, steps):
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            losses = objective(learner, hide_half())
            losses["loss"].backward()
            optimizer.step()
            objective.on_step_end(learner)
        return losses["loss/consistency"].item()

    learner = build_model()
    objective = build_mean_teacher(learner, rampup=20, weight=2.0)
    go(objective, learner, 3)
    saved = copy.deepcopy((objective.state_dict(), learner.state_dict()))
    expected = go(objective, learner, 3)
    again = build_model()
    anew = build_mean_teacher(again, rampup=20, weight=2.0)
    anew.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    assert go(anew, again, 3) == expected > 0


def test_counting_flops_leaves_the_teacher_unchanged():
    learner, objective = build_model(), build_mean_teacher(build_model())
    before = copy.deepcopy(objective.state_dict())
    flops_per_step(Learner(learner, objective), build_batch())
    assert all(torch.equal(before[name], after) for name, after in objective.state_dict().items())


def test_agreement_under_noise_and_missing_modalities_is_worth_something():
    accuracies = {}
    for weight in (0.0, 10.0):
        accuracies[weight] = 0.0
        for seed in range(3):
            data, new = few_labels.draw_rows(300, seed, labelled=6), few_labels.draw_rows(600, 1000 + seed)
            keys = {
                "decay": 0.95,
                "weight": weight,
                "drop_prob": 0.5,
                "noise": {"tabular": 0.5},
                **few_labels.KWARGS,
            }
            objective = MeanTeacher(Task, model=few_labels.build_model(seed), **keys)
            learner = few_labels.train(objective, few_labels.build_model(seed), data, steps=120)
            accuracies[weight] += few_labels.accuracy(learner, new) / 3
    assert accuracies[10.0] > accuracies[0.0] + 0.005


def test_validation_sees_true_targets():
    learner, data = build_model(), hide_half()
    loss = build_mean_teacher(build_model()).eval()(learner, data)["loss"].item()
    assert loss == Task(TASKS)(learner, data)["loss"].item()


@pytest.mark.parametrize("key", ["decay", "drop_prob"])
def test_what_does_not_fit_is_refused(key):
    with pytest.raises(ConfigError) as caught:
        build_mean_teacher(build_model(), **{key: 2.0})
    assert str(caught.value) == f"objective.{key}: 2.0 is not between 0 and 1"
