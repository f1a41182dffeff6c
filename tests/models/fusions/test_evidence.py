"""Evidence that a fusion sees interactions: it learns exclusive or, which no sum over modalities can represent."""

import pytest
import torch
from torch import nn

from mmrun import compose
from mmrun.instantiate import instantiate
from mmrun.types import Features


def measure_xor_accuracy(name: str, lr: float = 0.01, steps: int = 100, **values: object) -> float:
    """Train on whether two numbers, one per modality, differ in sign; return the accuracy on new rows."""
    torch.manual_seed(0)
    dims = {"left": 8, "right": 8}
    fusion = instantiate({**compose.load_option("fusion", name), **values}, "fusion", {"dims": dims, "num_outputs": 2})
    head = fusion.head(2)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=lr)
    train, test = torch.randn(2, 512, 2)
    present = dict.fromkeys(dims, torch.ones(512, dtype=torch.bool))

    def predict(numbers: torch.Tensor) -> torch.Tensor:
        spread = numbers[:, :, None] * torch.linspace(-1, 1, 8)
        return head(fusion({"left": Features(spread[:, 0]), "right": Features(spread[:, 1])}, present))

    def label(numbers: torch.Tensor) -> torch.Tensor:
        return (numbers.prod(1) < 0).long()

    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(predict(train), label(train)).backward()
        optimizer.step()
    return (predict(test).argmax(1) == label(test)).float().mean().item()


@pytest.mark.parametrize("name", ["bilinear", "concat", "film", "gated", "low_rank", "max", "mmtm", "moe", "tensor"])
def test_learns_exclusive_or(name):
    assert measure_xor_accuracy(name) >= 0.95


@pytest.mark.parametrize(("name", "values"), [("cnn", {"length": 2}), ("graph", {}), ("multiplicative", {})])
def test_learns_exclusive_or_at_width_32(name, values):
    assert measure_xor_accuracy(name, lr=0.003, dim=32, **values) >= 0.95


@pytest.mark.parametrize(
    "name", ["attention", "bottleneck", "cross_attention", "late_transformer", "perceiver", "self_attention"]
)
def test_transformers_learn_exclusive_or_by_small_steps(name):
    assert measure_xor_accuracy(name, lr=0.001, steps=60, dim=32) >= 0.95


@pytest.mark.parametrize("name", ["late", "mean", "mla", "mmcosine", "pdf", "qmf", "sum"])
def test_additive_fusions_do_not_learn_exclusive_or(name):
    assert measure_xor_accuracy(name) <= 0.6
