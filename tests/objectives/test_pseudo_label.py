"""Pseudo-labels: learning from rows without a target."""

import copy

import numpy as np
import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.pseudo_label import PseudoLabel, fill_hidden_targets
from mmrun.objectives.task import Task
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.ordinal import Ordinal
from mmrun.testing.examples import TASKS, build_model
from tests.objectives import few_labels
from tests.objectives.unlabelled import NAN, build_pseudo_label, hide_half


def test_hidden_targets_are_filled_in_where_scores_are_sure():
    scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.05, 0.95], [0.0, 1.0]])
    classes = torch.tensor([-100, -100, -100, 0])
    for task in (TASKS["label"], Ordinal("label", ["a", "b"], np.ones(2))):
        assert fill_hidden_targets(task, scores, classes, 0.9).tolist() == [0, -100, 1, 0]
    labels = torch.tensor([[NAN, NAN], [NAN, 1.0], [NAN, 0.0], [0.0, NAN]])
    filled = fill_hidden_targets(Multilabel("tags", ["a", "b"]), scores, labels, 0.9)
    assert torch.equal(filled.nan_to_num(9.0), torch.tensor([[1.0, 0], [9, 1], [0, 0], [0, 1]]))
    numbers = torch.tensor([NAN, 3.0])
    assert fill_hidden_targets(TASKS["age"], scores[:2, :1], numbers, 0.0) is numbers


def test_at_threshold_zero_the_teacher_s_class_is_the_target_of_every_hidden_row():
    learner, data, teacher_model = build_model(), hide_half(), build_model()
    with torch.no_grad():
        predicted = teacher_model(data)["label"].argmax(1)
    filled = data._replace(
        targets={**data.targets, "label": predicted.where(data.targets["label"] < 0, data.targets["label"])}
    )
    loss = build_pseudo_label(teacher_model, threshold=0.0)(learner, data)["loss"].item()
    assert loss == Task(TASKS)(learner, filled)["loss"].item()
    assert (
        build_pseudo_label(teacher_model, threshold=1.0)(learner, data)["loss"].item()
        == Task(TASKS)(learner, data)["loss"].item()
    )


def test_pseudo_labels_are_worth_something():
    before = after = 0.0
    for seed in range(4):
        data, new = (
            few_labels.draw_rows(300, seed, labelled=6, spread=1.2),
            few_labels.draw_rows(600, 1000 + seed, spread=1.2),
        )
        learner = few_labels.train(Task(few_labels.TASKS), few_labels.build_model(seed), data)
        before += few_labels.accuracy(learner, new) / 4
        objective = PseudoLabel(Task, model=learner, threshold=0.8, **few_labels.KWARGS)
        after += few_labels.accuracy(few_labels.train(objective, copy.deepcopy(learner), data), new) / 4
    assert after > before + 0.01


def test_validation_sees_true_targets():
    learner, data = build_model(), hide_half()
    loss = build_pseudo_label(build_model(), threshold=0.0).eval()(learner, data)["loss"].item()
    assert loss == Task(TASKS)(learner, data)["loss"].item()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 2.0}, "objective.threshold: 2.0 is not between 0 and 1"),
        (
            {"tasks": {"age": TASKS["age"]}},
            "objective: no task predicts probabilities, which a threshold needs (there are age)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        build_pseudo_label(build_model(), **changes)
    assert str(caught.value) == message
