"""A step learns from the visible targets of its whole batch, however the batch is split."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.instantiate import instantiate
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.autoencode import Autoencoder
from mmrun.objectives.balance.blending import GradientBlending
from mmrun.objectives.balance.boosting import ReconBoost
from mmrun.objectives.balance.teachers import Umt
from mmrun.objectives.cross_modal import CrossModal
from mmrun.objectives.denoise import DenoiseTabular
from mmrun.objectives.fixmatch import FixMatch
from mmrun.objectives.task import Task
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.ordinal import Ordinal
from mmrun.tasks.regression import Regression
from mmrun.testing.examples import DIMS, KINDS, METADATA, ConcatFusion, LinearEncoder, build_batch
from mmrun.training.engine import mean_losses
from mmrun.training.grad_accumulation import GradientAccumulator, first_rows, split
from mmrun.training.learner import Learner
from tests.options import load_option

MODALITIES = ("photo", "cells")
KINDS_OF_TWO, DIMS_OF_TWO = {m: KINDS[m] for m in MODALITIES}, {m: DIMS[m] for m in MODALITIES}
TASKS = {
    "label": Classification("label", ["a", "b", "c"], np.array([4, 2, 2])),
    "tags": Multilabel("tags", ["x", "y"]),
    "stars": Ordinal("stars", ["low", "middle", "high"], np.array([4, 2, 2])),
    "age": Regression("age", ["age"], np.zeros(1), np.ones(1)),
}
EXACT = {  # objectives whose gradient does not depend on how a batch is split
    "task": {},
    "multi_loss": {},
    "probe": {},
    "modality_dropout": {"task": {"_target_": "mmrun.objectives.task.Task", "unimodal_weight": 0.5}},
    "fgsm": {},
    "distill": {},
    "distill_features": {"match": ["fused", "pooled"]},
    "distill_unimodal": {},
    "mean_teacher": {"noise": None, "drop_prob": 0.0, "decay": 0.5},
    "pseudo_label": {"threshold": 0.37},
}


def build_model():
    torch.manual_seed(0)
    encoders = {name: LinearEncoder(KINDS[name]) for name in MODALITIES}
    return Multimodal(encoders, ConcatFusion(list(MODALITIES)), TASKS)


def build_rows():
    """Return 64 rows, of which 3 have a class, 2 a tag, 5 stars and 9 an age; 20 have no photo."""
    batch = build_batch(*MODALITIES, rows=64)
    batch.present["photo"][7:27] = False
    label, stars = torch.full((64,), -100), torch.full((64,), -100)
    tags, age = torch.full((64, 2), math.nan), torch.full((64,), math.nan)
    label[[5, 6, 50]] = torch.tensor([0, 2, 1])
    stars[[0, 9, 10, 11, 63]] = torch.tensor([0, 1, 2, 1, 0])
    tags[40, 0], tags[41, 1] = 1.0, 0.0
    age[20:29] = torch.linspace(-1, 1, 9)
    return batch._replace(targets={"label": label, "tags": tags, "stars": stars, "age": age})


def build_objective(name, model, **changes):
    kwargs = {"model": model, "tasks": TASKS, "kinds": KINDS_OF_TWO, "dims": DIMS_OF_TWO}
    kwargs |= {"fusion_dim": 6, "metadata": METADATA, "open_run": lambda _: build_model(), "seed": 0}
    torch.manual_seed(1)
    return instantiate({**load_option("objective", name), **changes}, "objective", kwargs)


def add_gradients(build, batch, micro_batches):
    """Return the losses and the gradients of one batch."""
    model = build_model()
    objective = build(model)
    with torch.no_grad():  # a student that differs from its teacher
        for parameter in model.parameters():
            parameter.add_(0.1)
    learner = Learner(model, objective).train()
    torch.manual_seed(2)
    losses = GradientAccumulator(learner, Accelerator(cpu=True), micro_batches, print).add(batch)
    gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
    return losses, gradients


def assert_same_step(build, batch):
    expected = add_gradients(build, batch, 1)
    assert expected[0]["loss"] > 0
    for micro_batches in (2, 4, 8):
        torch.testing.assert_close(add_gradients(build, batch, micro_batches), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_the_gradient_is_that_of_the_whole_batch(name):
    assert_same_step(partial(build_objective, name, **EXACT[name]), build_rows())


@pytest.mark.parametrize(
    "changes",
    [
        {"class_balanced": True, "label_smoothing": 0.1},
        {"loss": {"classification": "focal", "regression": "huber"}},
        {"loss": {"classification": "hinge", "regression": "l1"}},
        {"weighting": "uncertainty", "unimodal_weight": 0.3, "weights": {"label": 2.0}},
    ],
)
def test_every_form_of_the_loss_is_normalised_by_visible_targets(changes):
    assert_same_step(partial(build_objective, "task", **changes), build_rows())


def test_equal_rows_give_mixup_the_gradient_of_the_whole_batch():
    """Partners and lambda depend on how a batch is split; equal rows do not depend on them."""
    batch = build_rows()
    batch.present["photo"].fill_(True)
    batch.inputs["photo"][:] = batch.inputs["photo"][0].clone()
    for part in batch.inputs["cells"].values():
        part[:] = part[0].clone()
    for target in batch.targets.values():
        target[target >= 0] = 1
    assert_same_step(partial(build_objective, "mixup"), batch)


def test_a_pretext_is_normalised_by_the_rows_that_have_the_modality():
    batch = build_rows()

    def build(model):
        torch.manual_seed(1)
        kwargs = {"kinds": {"photo": "image"}, "dims": {"photo": DIMS["photo"]}, "fusion_dim": 6, "metadata": METADATA}
        return instantiate(load_option("objective", "autoencoder"), "objective", {**kwargs, "model": model})

    assert_same_step(build, batch)


def test_recovering_a_modality_is_normalised_by_the_rows_that_have_another():
    batch = build_rows()
    batch.present["cells"][10:] = False  # 7 rows have both

    def build(model):
        by_kind = {"image": Autoencoder, "tabular": partial(DenoiseTabular, noise=0.0)}
        metadata = {modality: METADATA[modality] for modality in MODALITIES}
        torch.manual_seed(1)
        return CrossModal(by_kind, KINDS_OF_TWO, DIMS_OF_TWO, 6, metadata)

    assert_same_step(build, batch)


def test_fixmatch_is_normalised_by_the_unlabelled_rows():
    def build(model):
        return FixMatch(Task, TASKS, KINDS_OF_TWO, METADATA, keep_inputs, keep_inputs, threshold=0.37)

    assert_same_step(build, build_rows())


def keep_inputs(**kwargs):
    return nn.Identity()


def test_a_wrapping_balance_is_normalised_too():
    assert_same_step(lambda model: Umt(Task(TASKS, KINDS_OF_TWO), model, KINDS_OF_TWO), build_rows())


@pytest.mark.parametrize("number", [0, 1])
def test_a_turn_of_reconboost_is_normalised_too(number):
    def build(model):
        balance = ReconBoost(Task(TASKS, KINDS_OF_TWO), TASKS, KINDS_OF_TWO, turn_steps=1, rectification_steps=1)
        balance.counter.steps = 2 * number + 1
        return balance

    assert_same_step(build, build_rows())


def test_rows_that_are_held_out_do_not_count():
    held_out = torch.arange(64) % 5 == 0

    def build(model):
        torch.manual_seed(1)
        objective = Task(TASKS, KINDS_OF_TWO)
        return GradientBlending(objective, TASKS, KINDS_OF_TWO, DIMS_OF_TWO, hold_out_rows=lambda share: held_out)

    assert_same_step(build, build_rows())


def test_a_batch_that_does_not_divide_is_weighed_by_its_visible_targets():
    build, batch = partial(build_objective, "probe"), first_rows(build_rows(), 53)
    expected = add_gradients(build, batch, 1)
    torch.testing.assert_close(add_gradients(build, batch, 4), expected, rtol=1e-4, atol=1e-6)


def test_uncertainty_of_a_task_without_visible_targets_does_not_drift():
    batch = build_rows()
    batch.targets["age"].fill_(math.nan)
    for micro_batches in (1, 4):
        _, gradients = add_gradients(partial(build_objective, "task", weighting="uncertainty"), batch, micro_batches)
        assert gradients["objective.uncertainty.log_variance.age"].item() == 0.0
        assert gradients["objective.uncertainty.log_variance.label"].item() != 0.0


class Cut:
    """The rows of a batch as the batches of an evaluation."""

    def __init__(self, batch, number):
        self.batch, self.number = batch, number

    def counted(self):
        for part in split(self.batch, self.number):
            yield part, len(part.index)

    def without_inputs(self):
        return self.batch._replace(inputs={})


@pytest.mark.parametrize("name", ["task", "probe", "distill"])
def test_the_validation_loss_is_that_of_all_rows_at_once(name):
    model = build_model()
    learner = Learner(model, build_objective(name, model)).eval()
    with torch.no_grad():
        whole = {part: loss.item() for part, loss in learner(build_rows()).items()}
    for number in (1, 3, 8):
        cut = mean_losses(learner, Cut(build_rows(), number), Accelerator(cpu=True), seed=0)
        assert cut == pytest.approx(whole, rel=1e-5)
