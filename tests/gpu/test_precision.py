"""Each precision, kernel and memory layout trains as fp32 does on a CPU."""

import pytest
import torch

from tests.gpu.conftest import RESNET

PRECISIONS = {  # overrides, and how far losses may be off
    "fp32": (["trainer.tf32=false"], 1e-3),
    "tf32": (["trainer.tf32=true"], 1e-2),
    "bf16": (["trainer.precision=bf16"], 5e-2),
    "fp16": (["trainer.precision=fp16"], 2e-2),
}


@pytest.mark.parametrize("name", [*list(PRECISIONS)[:3], pytest.param("fp16", marks=pytest.mark.gpu_alone)])
def test_a_precision_trains_as_fp32_on_a_cpu(train, name):
    overrides, tolerance = PRECISIONS[name]
    expected = train("trainer.device=cpu", name="cpu").losses
    assert train(*overrides).losses == pytest.approx(expected, rel=tolerance)


@pytest.mark.gpu_alone
def test_tf32_is_used_where_it_is_allowed_alone(train):
    x = torch.randn(256, 256, device="cuda")
    exact = (x.double() @ x.double()).float()
    errors = {}
    for allowed in ("false", "true"):
        train("budget.steps=1", f"trainer.tf32={allowed}", name=allowed)
        errors[allowed] = (x @ x - exact).abs().max().item()
    assert errors["false"] < 1e-3 < errors["true"]


def test_deterministic_false_trains_as_well(train):
    expected = train(name="deterministic").losses
    assert train("trainer.deterministic=false").losses == pytest.approx(expected, rel=1e-2)


def test_channels_last_gives_the_same_losses(train):
    overrides = ["encoder.image.preprocess.size=32", "budget.steps=3", "trainer.tf32=false"]
    expected = train(*overrides, "trainer.channels_last=false", name="contiguous", model=RESNET).losses
    assert train(*overrides, "trainer.channels_last=true", model=RESNET).losses == pytest.approx(expected, rel=1e-3)
