"""UMT on a literal case."""

import pytest

from mmrun.objectives.balance.modulation import Agm
from mmrun.objectives.balance.teachers import Umt
from mmrun.objectives.task import Task
from mmrun.training.learner import Learner
from tests.objectives.balance.pair import BOTH, TWO, build_pair, build_rows


def test_umt_pulls_each_encoder_to_itself_as_the_stage_found_it():
    learner, data = build_pair(TWO), build_rows([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]], [0, 1])
    balance = Umt(Task(TWO), learner, BOTH, weight=10.0)
    assert balance(learner, data)["loss"].item() == Task(TWO)(learner, data)["loss"].item()
    learner.encoder["a"].linear.weight.data *= 2  # a's vectors are doubled
    data.present["a"][1] = False
    losses = balance(learner, data)
    assert losses["loss/teacher/a"].item() == pytest.approx((1 + 4) / 2)
    assert losses["loss/teacher/b"].item() == 0.0
    assert losses["loss"].item() == pytest.approx(Task(TWO)(learner, data)["loss"].item() + 25.0)


def test_umt_trains_although_it_has_no_trainable_parameters():
    learner = build_pair(TWO)
    balance = Umt(Agm(Task(TWO), TWO, BOTH), learner, BOTH)
    Learner(learner, balance).train()
    assert balance.training
    assert balance.objective.training
    assert not any(module.training for module in balance.teacher.modules())
    assert not any(p.requires_grad for p in balance.teacher.parameters())
