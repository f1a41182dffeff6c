"""What every fusion promises, for each YAML of configs/fusion."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mmrun import compose
from mmrun.instantiate import find_target, instantiate
from mmrun.types import Features, Fusion

WIDTHS = {"image": 12, "text": 7, "audio": 5, "tabular": 9, "series": 4}
LENGTHS = {"image": 5, "text": 7, "audio": 3, "tabular": 1, "series": 11}
NAMES = compose.list_options("fusion")
NODES = {name: compose.load_option("fusion", name) for name in NAMES}
CASES = {
    **NODES,
    "bilinear-mlb": {**NODES["bilinear"], "method": "mlb"},
    "cnn-nearest": {**NODES["cnn"], "align": "nearest"},
    "cnn-attention": {**NODES["cnn"], "align": "attention"},
    "late-learned": {**NODES["late"], "weights": "learned"},
}
ROWS = 6


def build(name: str, count: int) -> Fusion:
    dims = dict(list(WIDTHS.items())[:count])
    torch.manual_seed(0)
    return instantiate(CASES[name], "fusion", optional_kwargs={"dims": dims, "num_outputs": 3}).eval()


def example(count: int, tokens: bool) -> tuple[dict[str, Features], dict[str, Tensor]]:
    """Six rows with every modality; with tokens, row b of the second modality has b real ones: the first row none."""
    generator = torch.Generator().manual_seed(1)
    features = {}
    for place, (name, dim) in enumerate(list(WIDTHS.items())[:count]):
        pooled = torch.randn(ROWS, dim, generator=generator)
        features[name] = Features(pooled)
        if tokens:
            values = torch.randn(ROWS, LENGTHS[name], dim, generator=generator)
            mask = torch.arange(LENGTHS[name]) < torch.arange(ROWS)[:, None] if place == 1 else None
            features[name] = Features(pooled, values, mask)
    return features, {name: torch.ones(ROWS, dtype=torch.bool) for name in features}


def each(change: Callable[[Tensor], Any], *trees: Any) -> Any:
    """Change every tensor of nested features and masks; the None of what is not given stays."""
    return tree_map(lambda part: None if part is None else change(part), trees)


def refill(features: dict[str, Features], present: dict[str, Tensor], filler: float) -> dict[str, Features]:
    """Put a number wherever nothing is real: in missing rows, and in padding."""
    filled = {}
    for name, (pooled, tokens, mask) in features.items():
        missing = ~present[name]
        pooled = pooled.masked_fill(missing[:, None], filler)
        if tokens is not None:
            padding = missing[:, None] if mask is None else missing[:, None] | ~mask
            tokens = tokens.masked_fill(padding[..., None], filler)
        filled[name] = Features(pooled, tokens, mask)
    return filled


every = pytest.mark.parametrize("name", CASES)
any_number = pytest.mark.parametrize("count", [1, 2, 3, 5])
with_and_without_tokens = pytest.mark.parametrize("tokens", [True, False], ids=["tokens", "pooled"])


def test_the_fusions_are_found():
    assert len(NAMES) >= 18
    assert {"concat", "gated", "self_attention", "low_rank", "late"} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_lists_every_argument_at_its_default(name):
    parameters = inspect.signature(find_target(NODES[name], "fusion")).parameters
    defaults = {key: p.default for key, p in parameters.items() if key not in ("dims", "num_outputs")}
    assert {key: value for key, value in NODES[name].items() if key != "_target_"} == defaults


@every
@any_number
@with_and_without_tokens
def test_gives_one_vector_a_row_and_teaches_every_parameter(name, count, tokens):
    fusion = build(name, count).train()
    head = fusion.head(3)
    fused = fusion(*example(count, tokens))
    output = head(fused)
    assert fused.shape == (ROWS, fusion.dim)
    assert output.shape == (ROWS, 3)
    output.square().sum().backward()
    parameters = [*fusion.named_parameters(prefix="fusion"), *head.named_parameters(prefix="head")]
    assert {key.split(".")[0] for key, _ in parameters} == {"fusion", "head"}
    for key, parameter in parameters:
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if count > 1:  # what weighs modalities against each other has nothing to learn from one
            assert parameter.grad.any(), key


@every
@any_number
@with_and_without_tokens
def test_what_stands_in_for_a_missing_modality_changes_no_bit(name, count, tokens):
    fusion = build(name, count)
    features, present = example(count, tokens)
    for place, modality in enumerate(present):  # row 0 has nothing, row 5 everything
        present[modality] = torch.tensor([False, place != 0, place == 0, place % 2 == 0, place % 2 == 1, True])
    zeros = fusion(refill(features, present, 0.0), present)
    assert zeros.isfinite().all()
    for filler in (7.0, float("inf"), float("nan")):
        fusion.zero_grad()
        filled = fusion(refill(features, present, filler), present)
        assert torch.equal(filled, zeros)
        filled.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())


@every
@with_and_without_tokens
def test_every_modality_counts_and_no_row_sees_another(name, tokens):
    fusion = build(name, 3)
    features, present = example(3, tokens)
    fused = fusion(features, present)
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    moved = each(lambda part: part[order], features, present)
    torch.testing.assert_close(fusion(*moved), fused[order])
    for modality in features:
        without = fusion(features, {**present, modality: torch.arange(ROWS) != 5})
        torch.testing.assert_close(without[:5], fused[:5])
        assert not torch.allclose(without[5], fused[5], atol=1e-4)


@every
@with_and_without_tokens
def test_moves_whole_to_another_device_and_type(name, tokens):
    moved = each(
        lambda part: part.to("meta", torch.float64 if part.is_floating_point() else part.dtype), *example(3, tokens)
    )
    fused = build(name, 3).to("meta", torch.float64)(*moved)
    assert (fused.device.type, fused.dtype) == ("meta", torch.float64)


@every
@with_and_without_tokens
def test_runs_under_bf16_autocast(name, tokens):
    fusion = build(name, 3)
    features, present = example(3, tokens)
    present["text"] = torch.arange(ROWS) % 2 == 0
    with torch.autocast("cpu", torch.bfloat16):
        fused = fusion(features, present)
    exact = fusion(features, present)
    assert (fused - exact).norm() < 0.1 * exact.norm()


@every
def test_exports_for_any_number_of_rows(name):
    fusion = build(name, 2)
    inputs = example(2, tokens=True)
    batch = torch.export.Dim("batch")
    program = torch.export.export(fusion, inputs, dynamic_shapes=each(lambda _: {0: batch}, *inputs))
    three = each(lambda part: part[:3], *inputs)
    torch.testing.assert_close(program.module()(*three), fusion(*three))
