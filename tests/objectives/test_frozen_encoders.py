"""Which objectives need only features where encoders are frozen, over all YAML files."""

import pytest
import torch
from accelerate import Accelerator

from mmrun.head import FUSED
from mmrun.testing.examples import KINDS, build_batch
from mmrun.training.features import replaceable_inputs
from mmrun.training.learner import Learner
from tests.objectives.test_contract import NAMES, build, build_model_of

EVERYWHERE = {modality: ["pooled"] for modality in KINDS}
EXPECTED = {
    "task": EVERYWHERE,
    "probe": EVERYWHERE,
    "modality_dropout": EVERYWHERE,
    "contrastive": EVERYWHERE,
    "siglip": EVERYWHERE,
    "vicreg": EVERYWHERE,
    "itm": {**EVERYWHERE, "title": ["pooled", "tokens", "mask"]},  # its fusion reads tokens where an encoder has them
    "self_supervised": {},
    "joint_self_supervised": {},
    "cross_modal_masked": {},
    "simclr": {},
    "mae": {},
    "fgsm": {"title": ["pooled"]},  # words cannot be perturbed
}


def build_frozen(name):
    objective, built = build(name), build_model_of(name)
    built.encoder.requires_grad_(False)
    return Learner(built, objective).train(), Accelerator(cpu=True)


def compute_loss(learner, data):
    torch.manual_seed(2)
    return learner(data)["loss"].item()


@pytest.mark.parametrize("name", NAMES)
def test_what_may_be_read_as_features_gives_the_same_loss(name):
    learner, accelerator = build_frozen(name)
    data = build_batch()
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    random = torch.get_rng_state()
    features = replaceable_inputs(learner, data, [], accelerator)
    assert torch.equal(torch.get_rng_state(), random)
    assert learner.training
    assert all(value.equal(before[key]) for key, value in learner.state_dict().items())
    if name in EXPECTED:
        assert {modality: list(parts) for modality, parts in features.items()} == EXPECTED[name]
    expected = compute_loss(learner, data)
    assert compute_loss(learner, data._replace(inputs={**data.inputs, **features})) == pytest.approx(expected, rel=1e-4)


def test_an_encoder_that_learns_or_drops_out_is_read_from_inputs():
    learner, accelerator = build_frozen("task")
    learner.model.encoder["photo"].requires_grad_(True)
    data = build_batch()
    assert list(replaceable_inputs(learner.train(), data, [], accelerator)) == [
        "title",
        "sound",
        "cells",
        "sensor",
        "clip",
    ]
    learner.model.encoder["sound"].requires_grad_(True).dropout = torch.nn.Dropout(0.5)
    assert list(replaceable_inputs(learner.train(), data, [], accelerator)) == ["title", "cells", "sensor", "clip"]


def test_what_validation_reads_counts_as_well():
    """The contrastive objective reads no tokens, but the fusion that validation uses may."""
    learner, accelerator = build_frozen("contrastive")
    fuse = learner.model.fusion.forward
    learner.model.fusion.forward = lambda features, present: fuse(features, present) + features["title"].tokens.mean()
    data = build_batch()
    assert list(replaceable_inputs(learner, data, [], accelerator)["title"]) == ["pooled"]
    title = replaceable_inputs(learner, data, [FUSED], accelerator)["title"]
    assert list(title) == ["pooled", "tokens", "mask"]
