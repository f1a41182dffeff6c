"""Contract checks for fusions. The first line of a check is printed as what it checks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mmrun.testing.examples import NUM_ROWS, first_widths, fusion_input, refill
from mmrun.types import Fusion

NUM_OUTPUTS = 3

BuildFusion = Callable[[Mapping[str, int]], Fusion]  # from the width of each modality's features


def map_tensors(change: Callable[[Tensor], object], *trees: object) -> Any:
    """Apply a function to every tensor in nested containers.

    Args:
        change: the function.
        trees: features and masks; None stays None.

    Returns:
        a tuple of the changed trees.
    """
    return tree_map(lambda part: None if part is None else change(part), trees)


def build_seeded(build: BuildFusion, count: int) -> Fusion:
    """Build a fusion with fixed initial weights, in eval mode.

    Args:
        build: the fusion from the width of each modality's features.
        count: number of modalities.
    """
    torch.manual_seed(0)
    return build(first_widths(count)).eval()


def check_shapes_and_gradients(build: BuildFusion, count: int, tokens: bool) -> None:
    """It returns one vector per row, and every parameter gets a finite gradient where rows lack a modality each.

    Args:
        build: the fusion from the width of each modality's features.
        count: number of modalities.
        tokens: whether the features have tokens.

    Raises:
        AssertionError: the contract is broken.
    """
    fusion = build_seeded(build, count).train()
    head = fusion.head(NUM_OUTPUTS)
    features, present = fusion_input(count, tokens)
    if count > 1:
        present = {name: torch.arange(NUM_ROWS) != row for row, name in enumerate(present)}
    fused = fusion(features, present)
    assert fused.shape == (NUM_ROWS, fusion.dim), f"fused vectors {tuple(fused.shape)}, not ({NUM_ROWS}, {fusion.dim})"
    output = head(fused)
    assert output.shape == (NUM_ROWS, NUM_OUTPUTS), f"the head returns {tuple(output.shape)}"
    learned = [output.square().sum()]
    for decision in fusion.decide_alone(features, present).values():
        learned += [decision.logits.square().sum(), decision.confidence.sum()]
    torch.stack(learned).sum().backward()
    for key, parameter in [*fusion.named_parameters(prefix="fusion"), *head.named_parameters(prefix="head")]:
        assert parameter.grad is not None, f"{key} gets no gradient"
        assert parameter.grad.isfinite().all(), f"the gradient of {key} is not finite"
        if count > 1 and tokens:  # weights between modalities have none with a single one, positions without tokens
            assert parameter.grad.any(), f"the gradient of {key} is 0"


def check_missing_modalities(build: BuildFusion, count: int, tokens: bool) -> None:
    """The content of a missing modality changes no bit of the result, and gets no gradient.

    Args:
        build: the fusion from the width of each modality's features.
        count: number of modalities.
        tokens: whether the features have tokens.

    Raises:
        AssertionError: the contract is broken.
    """
    fusion = build_seeded(build, count)
    features, present = fusion_input(count, tokens)
    for position, modality in enumerate(present):  # row 0 has no modality, row 5 has all
        present[modality] = torch.tensor(
            [False, position != 0, position == 0, position % 2 == 0, position % 2 == 1, True]
        )
    zeros = fusion(refill(features, present, 0.0), present)
    assert zeros.isfinite().all(), "a row without any modality is not finite"
    for filler in (7.0, float("inf"), float("nan")):
        fusion.zero_grad()
        refilled = refill(features, present, filler)
        map_tensors(lambda part: part.requires_grad_(part.is_floating_point()), refilled)
        filled = fusion(refilled, present)
        assert torch.equal(filled, zeros), f"{filler} in missing rows changes the result"
        filled.sum().backward()
        for modality, parts in refilled.items():
            gradients = [part.grad for part in parts if part is not None and part.grad is not None]
            for gradient in gradients:
                assert gradient.isfinite().all(), f"{filler} in missing rows gives {modality} a gradient of NaN"
                assert not gradient[~present[modality]].any(), f"missing rows of {modality} get a gradient"
        for key, parameter in fusion.named_parameters():
            is_finite = parameter.grad is None or bool(parameter.grad.isfinite().all())
            assert is_finite, f"{filler} in missing rows makes the gradient of {key} not finite"


def check_rows_are_independent(build: BuildFusion, count: int, tokens: bool) -> None:
    """Every modality influences the result, and rows do not influence each other.

    Args:
        build: the fusion from the width of each modality's features.
        count: number of modalities.
        tokens: whether the features have tokens.

    Raises:
        AssertionError: the contract is broken.
    """
    fusion = build_seeded(build, count)
    features, present = fusion_input(count, tokens)
    fused = fusion(features, present)
    order = torch.tensor([5, 0, 3, 1, 4, 2])
    moved = map_tensors(lambda part: part[order], features, present)
    torch.testing.assert_close(fusion(*moved), fused[order])
    for modality in features:
        without = fusion(features, {**present, modality: torch.arange(NUM_ROWS) != 5})
        torch.testing.assert_close(without[:5], fused[:5])
        if count > 1:
            assert not torch.allclose(without[5], fused[5], atol=1e-4), f"{modality} does not change the result"


def check_device_and_type(build: BuildFusion, count: int, tokens: bool) -> None:
    """All of its tensors move to another device and type.

    Args:
        build: the fusion from the width of each modality's features.
        count: number of modalities.
        tokens: whether the features have tokens.

    Raises:
        AssertionError: the contract is broken.
    """

    def move(part: Tensor) -> Tensor:
        return part.to("meta", torch.float64 if part.is_floating_point() else part.dtype)

    fused = build_seeded(build, count).to("meta", torch.float64)(*map_tensors(move, *fusion_input(count, tokens)))
    assert (fused.device.type, fused.dtype) == ("meta", torch.float64), (
        "some tensors did not move to the other device or type"
    )


def check_autocast(build: BuildFusion, count: int, tokens: bool) -> None:
    """It runs under bf16 autocast, and the result is close to that in fp32.

    Args:
        build: the fusion from the width of each modality's features.
        count: number of modalities.
        tokens: whether the features have tokens.

    Raises:
        AssertionError: the contract is broken.
    """
    fusion = build_seeded(build, count)
    features, present = fusion_input(count, tokens)
    last = list(present)[-1]
    present[last] = torch.arange(NUM_ROWS) % 2 == 0
    with torch.autocast("cpu", torch.bfloat16):
        fused = fusion(features, present)
    exact = fusion(features, present)
    assert (fused - exact).norm() < 0.1 * exact.norm(), "the result in bf16 is far from that in fp32"


def check_export(build: BuildFusion, count: int, tokens: bool) -> None:
    """torch.export can export it for any number of rows.

    Args:
        build: the fusion from the width of each modality's features.
        count: number of modalities.
        tokens: whether the features have tokens.

    Raises:
        AssertionError: the contract is broken.
    """
    fusion = build_seeded(build, count)
    inputs = fusion_input(count, tokens)
    batch = torch.export.Dim("batch")
    program = torch.export.export(fusion, inputs, dynamic_shapes=map_tensors(lambda _: {0: batch}, *inputs))
    three = map_tensors(lambda part: part[:3], *inputs)
    torch.testing.assert_close(program.module()(*three), fusion(*three))


CHECKS = (
    check_shapes_and_gradients,
    check_missing_modalities,
    check_rows_are_independent,
    check_device_and_type,
    check_autocast,
    check_export,
)
