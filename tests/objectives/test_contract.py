"""The contract of objectives, over all YAML files."""

import math

import pytest
import torch

from mmrun.compose import list_options, load_option
from mmrun.instantiate import instantiate
from mmrun.models.multimodal import Multimodal
from mmrun.testing import objectives as contract
from mmrun.testing.examples import DIMS, TASKS, build_batch, build_model

NAMES = list_options("objective")
FUSIONS = [
    name for name in list_options("fusion") if name not in ("aligned", "flava")
]  # without parameters; pretrained


def build(name: str, **changes):
    optional_kwargs = {**contract.OPTIONAL_KWARGS, "model": build_model(), "seed": 0}
    torch.manual_seed(1)
    return instantiate({**load_option("objective", name), **changes}, "objective", optional_kwargs)


def test_all_objectives_are_found():
    assert {"task", "probe", "self_supervised", "joint_self_supervised"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", contract.CHECKS)
def test_contract(check, name):
    check(lambda: build(name))


@pytest.mark.parametrize("name", FUSIONS)
def test_joint_pretraining_teaches_every_fusion(name):
    torch.manual_seed(0)
    fusion = instantiate(load_option("fusion", name), "fusion", {"dims": DIMS, "num_outputs": 3})
    learner = Multimodal(dict(build_model().encoder.items()), fusion, {"label": TASKS["label"]})
    losses = build("joint_self_supervised", fusion_dim=fusion.dim)(learner, build_batch())
    losses["loss"].backward()
    assert losses["loss"].isfinite()
    gradients = [parameter.grad for parameter in fusion.parameters()]
    assert name == "aligned" or any(gradient is not None and gradient.any() for gradient in gradients)  # it has none


def test_what_learns_from_targets_alone_says_so():
    names = {name for name in NAMES if build(name).needs_targets}
    assert names == {"task", "multi_loss", "probe", "mixup", "modality_dropout", "fgm", "fgsm", "pgd"}


@pytest.mark.parametrize("name", ["task", "probe", "mixup", "modality_dropout", "fgsm"])
def test_without_targets_it_learns_nothing(name):
    batch, model = build_batch(), build_model()
    hidden = {
        "label": torch.full_like(batch.targets["label"], -100),
        "age": torch.full_like(batch.targets["age"], math.nan),
    }
    build(name)(model, batch._replace(targets=hidden))["loss"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
