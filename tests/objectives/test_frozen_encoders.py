"""Which objectives read features alone where encoders are frozen, tried over all YAML files."""

import pytest
import torch
from accelerate import Accelerator

from mmrun.head import FUSED
from mmrun.testing.examples import KINDS
from mmrun.testing.examples import build_batch as batch
from mmrun.testing.examples import build_model as model
from mmrun.training.features import replaceable_inputs
from mmrun.training.learner import Learner
from tests.objectives.test_contract import NAMES, build

EVERYWHERE = {modality: ["pooled"] for modality in KINDS}
EXPECTED = {
    "task": EVERYWHERE,
    "probe": EVERYWHERE,
    "modality_dropout": EVERYWHERE,
    "contrastive": EVERYWHERE,
    "siglip": EVERYWHERE,
    "vicreg": EVERYWHERE,
    "itm": {**EVERYWHERE, "title": ["pooled", "tokens", "mask"]},  # its matcher reads tokens, where there are any
    "self_supervised": {},
    "joint_self_supervised": {},
    "cross_modal_masked": {},
    "simclr": {},
    "mae": {},
    "fgsm": {"title": ["pooled"]},  # words are no numbers to move
}


def frozen(name):
    objective, built = build(name), model()
    built.encoder.requires_grad_(False)
    return Learner(built, objective).train(), Accelerator(cpu=True)


def loss(learner, data):
    torch.manual_seed(2)
    return learner(data)["loss"].item()


@pytest.mark.parametrize("name", NAMES)
def test_what_may_be_read_as_features_gives_the_same_loss(name):
    learner, accelerator = frozen(name)
    data = batch()
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    random = torch.get_rng_state()
    found = replaceable_inputs(learner, data, [], accelerator)
    assert torch.equal(torch.get_rng_state(), random)
    assert learner.training
    assert all(value.equal(before[key]) for key, value in learner.state_dict().items())
    if name in EXPECTED:
        assert {modality: list(parts) for modality, parts in found.items()} == EXPECTED[name]
    wanted = loss(learner, data)
    assert loss(learner, data._replace(inputs={**data.inputs, **found})) == pytest.approx(wanted, rel=1e-4)


def test_an_encoder_that_learns_or_drops_out_is_read_from_inputs():
    learner, accelerator = frozen("task")
    learner.model.encoder["photo"].requires_grad_(True)
    assert list(replaceable_inputs(learner.train(), batch(), [], accelerator)) == ["title", "sound", "cells", "sensor"]
    learner.model.encoder["sound"].requires_grad_(True).dropout = torch.nn.Dropout(0.5)
    assert list(replaceable_inputs(learner.train(), batch(), [], accelerator)) == ["title", "cells", "sensor"]


def test_what_validation_looks_at_counts_as_well():
    """Contrast reads no tokens; a fusion that validation looks through may."""
    learner, accelerator = frozen("contrastive")
    fuse = learner.model.fusion.forward
    learner.model.fusion.forward = lambda features, present: fuse(features, present) + features["title"].tokens.mean()
    assert list(replaceable_inputs(learner, batch(), [], accelerator)["title"]) == ["pooled"]
    assert list(replaceable_inputs(learner, batch(), [FUSED], accelerator)["title"]) == ["pooled", "tokens", "mask"]
