"""Pseudo-labels and the mean teacher: what rows without a target are worth."""

import copy

import numpy as np
import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.mean_teacher import MeanTeacher
from mmrun.objectives.pseudo_label import PseudoLabel, fill
from mmrun.objectives.task import Task
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.ordinal import Ordinal
from mmrun.testing.examples import KINDS, TASKS
from mmrun.testing.examples import build_batch as batch
from mmrun.testing.examples import build_model as model
from mmrun.training.cost import flops_per_step
from mmrun.training.learner import Learner
from tests.objectives import few_labels

NAN = float("nan")


def hidden(rows=8):
    """Rows of which every second one has no target."""
    data = batch(rows=rows)
    odd = torch.arange(rows) % 2 == 1
    targets = {"label": data.targets["label"].where(~odd, -100), "age": data.targets["age"].where(~odd, NAN)}
    return data._replace(targets=targets)


def pseudo(known, **changes):
    return PseudoLabel(Task, **{"tasks": TASKS, "kinds": KINDS, "model": known, **changes})


def averaging(known, **changes):
    return MeanTeacher(Task, **{"tasks": TASKS, "kinds": KINDS, "model": known, "drop_prob": 0.0, **changes})


def test_hidden_targets_are_filled_in_where_scores_are_sure():
    scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.05, 0.95], [0.0, 1.0]])
    classes = torch.tensor([-100, -100, -100, 0])
    for task in (TASKS["label"], Ordinal("label", ["a", "b"], np.ones(2))):
        assert fill(task, scores, classes, 0.9).tolist() == [0, -100, 1, 0]
    labels = torch.tensor([[NAN, NAN], [NAN, 1.0], [NAN, 0.0], [0.0, NAN]])
    filled = fill(Multilabel("tags", ["a", "b"]), scores, labels, 0.9)
    assert torch.equal(filled.nan_to_num(9.0), torch.tensor([[1.0, 0], [9, 1], [0, 0], [0, 1]]))
    numbers = torch.tensor([NAN, 3.0])
    assert fill(TASKS["age"], scores[:2, :1], numbers, 0.0) is numbers


def test_at_threshold_zero_the_teacher_s_class_is_the_target_of_every_hidden_row():
    learner, data, known = model(), hidden(), model()
    with torch.no_grad():
        said = known(data)["label"].argmax(1)
    whole = data._replace(
        targets={**data.targets, "label": said.where(data.targets["label"] < 0, data.targets["label"])}
    )
    found = pseudo(known, threshold=0.0)(learner, data)["loss"].item()
    assert found == Task(TASKS)(learner, whole)["loss"].item()
    assert pseudo(known, threshold=1.0)(learner, data)["loss"].item() == Task(TASKS)(learner, data)["loss"].item()


def test_validation_sees_true_targets():
    learner, data = model(), hidden()
    found = pseudo(model(), threshold=0.0).eval()(learner, data)["loss"].item()
    assert found == Task(TASKS)(learner, data)["loss"].item()
    assert averaging(model()).eval()(learner, data)["loss"].item() == Task(TASKS)(learner, data)["loss"].item()


def test_pseudo_labels_are_worth_something():
    before = after = 0.0
    for seed in range(4):
        data, new = few_labels.rows(300, seed, labelled=6, spread=1.2), few_labels.rows(600, 1000 + seed, spread=1.2)
        learner = few_labels.train(Task(few_labels.TASKS), few_labels.model(seed), data)
        before += few_labels.accuracy(learner, new) / 4
        objective = PseudoLabel(Task, model=learner, threshold=0.8, **few_labels.OFFER)
        after += few_labels.accuracy(few_labels.train(objective, copy.deepcopy(learner), data), new) / 4
    assert after > before + 0.01


def test_the_teacher_is_the_average_of_the_student_s_weights():
    learner, data = model(), batch()
    objective = averaging(learner, decay=0.9)
    weight, followed = learner.encoder["photo"].linear.weight, objective.teacher.model.encoder["photo"].linear.weight
    expected = torch.zeros_like(weight)
    for step in range(4):
        with torch.no_grad():
            weight.normal_()
        expected = torch.lerp(expected, weight.detach(), 1 - min(step / (step + 1), 0.9))
        objective(learner, data)
        assert torch.allclose(followed, expected, atol=1e-6)
    assert not list(objective.teacher.parameters())


def test_disagreement_is_the_squared_distance_of_what_both_say():
    learner, data = model(), hidden()
    objective = averaging(learner, decay=1.0, weight=3.0)
    objective(learner, data)
    with torch.no_grad():
        was = learner(data)
        learner.head["label"].weight.add_(0.5)
        learner.head["age"].bias.add_(2.0)
        now = learner(data)
    objective.decay = 1.0
    objective.step.fill_(1e9)  # late: the teacher hardly moves
    losses = objective(learner, data)
    expected = (now["label"].softmax(1) - was["label"].softmax(1)).square().mean() + (
        now["age"] - was["age"]
    ).square().mean()
    assert losses["loss/consistency"].item() == pytest.approx(expected.item(), rel=1e-4)
    hard = Task(TASKS)(learner, data)["loss"].item()
    assert losses["loss"].item() == pytest.approx(hard + 3 * expected.item(), rel=1e-4)


def test_the_weight_grows_as_in_the_paper():
    objective = averaging(model(), rampup=10)
    for step, share in ((0, np.exp(-5)), (5, np.exp(-1.25)), (10, 1.0), (99, 1.0)):
        objective.step.fill_(step)
        assert float(objective._ramp()) == pytest.approx(share)


def test_it_goes_on_exactly_from_a_checkpoint():
    def go(objective, learner, steps):
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            losses = objective(learner, hidden())
            losses["loss"].backward()
            optimizer.step()
        return losses["loss/consistency"].item()

    learner = model()
    objective = averaging(learner, rampup=20, weight=2.0)
    go(objective, learner, 3)
    kept = copy.deepcopy((objective.state_dict(), learner.state_dict()))
    expected = go(objective, learner, 3)
    again = model()
    anew = averaging(again, rampup=20, weight=2.0)
    anew.load_state_dict(kept[0])
    again.load_state_dict(kept[1])
    assert go(anew, again, 3) == expected > 0


def test_a_look_from_aside_leaves_the_teacher_alone():
    learner, objective = model(), averaging(model())
    before = copy.deepcopy(objective.state_dict())
    flops_per_step(Learner(learner, objective), batch())
    assert all(torch.equal(before[name], now) for name, now in objective.state_dict().items())


def test_agreement_under_noise_and_missing_modalities_is_worth_something():
    right = {}
    for weight in (0.0, 10.0):
        right[weight] = 0.0
        for seed in range(3):
            data, new = few_labels.rows(300, seed, labelled=6), few_labels.rows(600, 1000 + seed)
            keys = {"decay": 0.95, "weight": weight, "drop_prob": 0.5, "noise": {"tabular": 0.5}, **few_labels.OFFER}
            objective = MeanTeacher(Task, model=few_labels.model(seed), **keys)
            learner = few_labels.train(objective, few_labels.model(seed), data, steps=120)
            right[weight] += few_labels.accuracy(learner, new) / 3
    assert right[10.0] > right[0.0] + 0.005


def test_what_does_not_fit_is_refused():
    for build, changes, message in (
        (pseudo, {"threshold": 2.0}, "objective.threshold: 2.0 is not between 0 and 1"),
        (
            pseudo,
            {"tasks": {"age": TASKS["age"]}},
            "objective: no task predicts probabilities, which a threshold needs (there are age)",
        ),
        (averaging, {"decay": 2.0}, "objective.decay: 2.0 is not between 0 and 1"),
        (averaging, {"drop_prob": -1.0}, "objective.drop_prob: -1.0 is not between 0 and 1"),
    ):
        with pytest.raises(ConfigError) as caught:
            build(model(), **changes)
        assert str(caught.value) == message
