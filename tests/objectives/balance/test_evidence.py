"""Evidence that a balance helps: it teaches the modality that joint training leaves behind, and so the whole."""

from functools import cache

import pytest
import torch

from mmrun.objectives.balance.alignment import Lfm, LfmLearned
from mmrun.objectives.balance.alternating import Mla
from mmrun.objectives.balance.boosting import ReconBoost
from mmrun.objectives.task import Task
from tests.objectives.balance.imbalance import DIMS, KINDS, LABEL, measure_accuracies


def build_mla(model):
    return Mla(Task(LABEL), model)


def build_reconboost(model):
    return ReconBoost(Task(LABEL), LABEL, KINDS)


def build_lfm(model):
    return Lfm(Task(LABEL), KINDS, DIMS, dim=16, decay_steps=30)


def build_lfm_learned(model):
    return LfmLearned(Task(LABEL), LABEL, KINDS, DIMS, lambda share: torch.arange(512) % 10 == 0, dim=16)


@cache
def measure_joint_training(fusion, seed):
    return measure_accuracies(fusion, seed=seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("fusion", "balance"),
    [("mla", build_mla), ("concat", build_reconboost), ("concat", build_lfm), ("concat", build_lfm_learned)],
)
def test_the_modality_that_joint_training_leaves_behind_is_learned(fusion, balance, seed):
    joint, weak = measure_joint_training(fusion, seed)
    balanced, balanced_weak = measure_accuracies(fusion, balance, seed)
    assert balanced > joint + 0.003
    assert balanced_weak > weak + 0.03
