"""The contract of objectives, over all YAML files."""

import math
from itertools import product

import pytest
import torch

from mmrun.compose import list_options
from mmrun.instantiate import instantiate
from mmrun.models.multimodal import Multimodal
from mmrun.testing import objectives as contract
from mmrun.testing.examples import DIMS, TASKS, build_batch, build_model
from tests.options import load_option

NAMES = list_options("objective")
READ_TOKENS = ("data2vec", "wav2vec2")  # of every encoder
FUSIONS = [name for name in list_options("fusion") if name not in ("aligned", "flava")]  # no parameters; pretrained


def build_model_of(name: str):
    return build_model(all_tokens=name in READ_TOKENS)


def build(name: str, **changes):
    optional_kwargs = {**contract.OPTIONAL_KWARGS, "model": build_model_of(name), "seed": 0}
    torch.manual_seed(1)
    return instantiate({**load_option("objective", name), **changes}, "objective", optional_kwargs)


def test_all_objectives_are_found():
    assert {"task", "probe", "self_supervised", "joint_self_supervised"} <= set(NAMES)


# The queue of MoCo holds more keys than the example has rows: each row is among its own negatives. What DINO predicts
# moves, so that its loss need not fall.
NOT_FALLING = {(contract.check_learning, name) for name in ("moco", "dino")}
CASES = [(check, name) for check, name in product(contract.CHECKS, NAMES) if (check, name) not in NOT_FALLING]


@pytest.mark.parametrize(("check", "name"), CASES)
def test_contract(check, name):
    check(lambda: build(name), lambda: build_model_of(name))


@pytest.mark.parametrize("name", FUSIONS)
def test_joint_pretraining_teaches_every_fusion(name):
    torch.manual_seed(0)
    node = load_option("fusion", name) | ({"width": 3} if name == "tensor" else {})  # of many modalities
    fusion = instantiate(node, "fusion", {"dims": DIMS, "num_outputs": 3})
    learner = Multimodal(dict(build_model().encoder.items()), fusion, {"label": TASKS["label"]})
    losses = build("joint_self_supervised", fusion_dim=fusion.dim)(learner, build_batch())
    losses["loss"].backward()
    assert losses["loss"].isfinite()
    gradients = [parameter.grad for parameter in fusion.parameters()]
    assert name == "aligned" or any(gradient is not None and gradient.any() for gradient in gradients)  # it has none


def test_what_learns_from_targets_alone_says_so():
    names = {name for name in NAMES if build(name).needs_targets}
    assert names == {
        "task",
        "multi_loss",
        "probe",
        "mixup",
        "cutmix",
        "modality_dropout",
        "modality_shuffle",
        "fgm",
        "fgsm",
        "pgd",
    }


@pytest.mark.parametrize("name", ["task", "probe", "mixup", "modality_dropout", "fgsm"])
def test_without_targets_it_learns_nothing(name):
    batch, model = build_batch(), build_model()
    hidden = {
        "label": torch.full_like(batch.targets["label"], -100),
        "age": torch.full_like(batch.targets["age"], math.nan),
    }
    build(name)(model, batch._replace(targets=hidden))["loss"].backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
