"""Contract checks for encoders. The first line of a check is printed as what it checks."""

import copy
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_map

from mmrun.testing.examples import encoder_input
from mmrun.types import KINDS, Encoder, Features, Input

PADDED_PARTS = {"text": "ids", "series": "values", "points": "points"}  # by kind

X = TypeVar("X", bound=Input)


def take_rows(x: X, rows: list[int]) -> X:
    """Select rows of an input.

    Args:
        x: of one modality.
        rows: their numbers.

    Returns:
        an input of the same kind.
    """
    selected: X = tree_map(lambda part: part[rows], x)
    return selected


def fill_last_row(x: X, filler: float) -> X:
    """Fill the last row of an input with a number; parts that cannot hold NaN keep their values then.

    Args:
        x: of one modality.
        filler: 0 or NaN.

    Returns:
        an input of the same kind.
    """

    def fill(part: Tensor) -> Tensor:
        if math.isnan(filler) and not part.is_floating_point():
            return part
        return torch.cat([part[:-1], torch.full_like(part[-1:], filler)])

    filled: X = tree_map(fill, x)
    return filled


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Assert equality up to rounding.

    Raises:
        AssertionError: the tensors differ by more.
    """
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=1e-4)


def score(features: Features) -> Tensor:
    """Return a scalar that depends on every part of the features.

    Args:
        features: of some rows.

    Returns:
        their mean squared distance to fixed random values.
    """
    generator = torch.Generator().manual_seed(2)
    parts = [features.pooled] if features.tokens is None else [features.pooled, features.tokens]
    distances = [(part - torch.randn(part.shape, generator=generator)).square().mean() for part in parts]
    return torch.stack(distances).sum()


def check_shapes(encoder: Encoder) -> None:
    """Features have their shapes and are finite, also for a row without content.

    Args:
        encoder: to check, in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    assert encoder.kind in KINDS, f"kind {encoder.kind!r} is not one of {', '.join(KINDS)}"
    with torch.no_grad():
        pooled, tokens, mask = encoder(encoder_input(encoder.kind))
    assert pooled.shape == (3, encoder.dim), f"pooled {tuple(pooled.shape)}, not (3, {encoder.dim})"
    assert pooled.isfinite().all(), "pooled features are not finite"
    if tokens is not None:
        assert tokens.shape == (3, tokens.shape[1], encoder.dim), f"tokens {tuple(tokens.shape)}"
        assert tokens.isfinite().all(), "tokens are not finite"
    if mask is not None:
        assert tokens is not None, "a mask without tokens"
        assert mask.shape == tokens.shape[:2], f"mask {tuple(mask.shape)} of tokens {tuple(tokens.shape)}"
        assert mask.dtype == torch.bool, f"the mask is {mask.dtype}, not bool"
        real = mask.sum(1).tolist()
        assert real[0] == mask.shape[1], "a row of full length has masked tokens"
        assert real[0] > real[1] > 0, "a short row has as many tokens as one of full length"
        assert real[2] > 0, "a row without content has no visible token"


def check_rows_are_independent(encoder: Encoder) -> None:
    """Rows do not influence each other, not even by NaN.

    Args:
        encoder: to check, in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    x = encoder_input(encoder.kind)
    with torch.no_grad():
        features, permuted, single = encoder(x), encoder(take_rows(x, [2, 0, 1])), encoder(take_rows(x, [1]))
        beside_nan = encoder(fill_last_row(x, float("nan")))
    for part, permuted_part, single_part, part_beside_nan in zip(features, permuted, single, beside_nan, strict=True):
        if part is not None:
            assert_close(part[[2, 0, 1]], permuted_part)
            assert_close(part[[1]], single_part)
            assert_close(part[:2], part_beside_nan[:2])


def check_padding(encoder: Encoder) -> None:
    """Neither content nor length of padding has an influence; where it is cropped, not on batch statistics either.

    Args:
        encoder: to check, in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    if encoder.kind not in PADDED_PARTS and not encoder.ignores_padding:
        return
    x = take_rows(encoder_input(encoder.kind), [0, 1])
    assert isinstance(x, dict)
    if encoder.kind in PADDED_PARTS:
        name = PADDED_PARTS[encoder.kind]
        padding = ~x["mask"] if name == "ids" else ~x["mask"][:, None]
        with torch.no_grad():
            clean, changed = encoder(x), encoder({**x, name: x[name].masked_fill(padding, 7)})
        assert_close(clean.pooled, changed.pooled)
        if clean.tokens is not None:
            assert_close(clean.tokens[clean.mask], changed.tokens[clean.mask])
    short, encoder = take_rows(x, [1, 1]), copy.deepcopy(encoder)
    end = int(short["length"][0] if "length" in short else short["mask"][0].sum())
    for module in encoder.modules():
        if encoder.ignores_padding and isinstance(module, _NormBase):
            module.train()
    with torch.no_grad():
        padded = encoder(short)
        cropped = encoder({key: part[..., :end] if part.ndim > 1 else part for key, part in short.items()})
    assert_close(padded.pooled, cropped.pooled)
    if padded.tokens is not None:
        assert_close(padded.tokens[padded.mask], cropped.tokens[cropped.mask])


def check_order_of_points(encoder: Encoder) -> None:
    """The order of its points has no influence on the features of a cloud.

    Args:
        encoder: to check, in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    if encoder.kind != "points":
        return
    x = encoder_input(encoder.kind)
    assert isinstance(x, dict)
    order = torch.randperm(x["mask"].shape[1], generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        features, shuffled = encoder(x), encoder({name: part[..., order] for name, part in x.items()})
    assert_close(features.pooled, shuffled.pooled)


def check_gradients(encoder: Encoder) -> None:
    """Every trainable parameter gets a finite gradient, also where a row is missing and so zeros.

    Args:
        encoder: to check, in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    encoder = copy.deepcopy(encoder).train()
    trainable = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    if not trainable:
        return
    score(encoder(fill_last_row(encoder_input(encoder.kind), 0.0))).backward()
    for name, parameter in trainable.items():
        assert parameter.grad is not None, f"{name} gets no gradient"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"


def check_descent(encoder: Encoder) -> None:
    """A small gradient step lowers the loss.

    Args:
        encoder: to check, in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    encoder, x = copy.deepcopy(encoder), take_rows(encoder_input(encoder.kind), [0, 1])
    trainable = [p for p in encoder.parameters() if p.requires_grad]
    if not trainable:
        return
    before = score(encoder(x))
    before.backward()
    gradients = [p.grad for p in trainable if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    with torch.no_grad():
        for parameter, gradient in zip(trainable, gradients, strict=True):
            parameter.sub_(gradient / norm * 1e-3)
        assert score(encoder(x)) < before, "a gradient step does not lower the loss"


def check_state_dict(encoder: Encoder) -> None:
    """A loaded encoder equals the saved one.

    Args:
        encoder: to check, in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    x, loaded = encoder_input(encoder.kind), copy.deepcopy(encoder)
    with torch.no_grad():
        for value in loaded.state_dict().values():
            value.add_(0.1 if value.is_floating_point() else 0)
        assert not torch.equal(encoder(x).pooled, loaded(x).pooled), "the output does not depend on the state"
        loaded.load_state_dict(encoder.state_dict())
        assert torch.equal(encoder(x).pooled, loaded(x).pooled), "a loaded encoder differs from the saved one"


def check_layers(encoder: Encoder) -> None:
    """The tokens of its hidden layers have the shape of its tokens.

    Args:
        encoder: in eval mode.

    Raises:
        AssertionError: the contract is broken.
    """
    x = encoder_input(encoder.kind)
    with torch.no_grad():
        tokens, layers = encoder(x).tokens, encoder.encode_layers(x)
    if tokens is None:
        assert layers == [], "encode_layers returns tokens, and forward has none"
        return
    assert layers, "encode_layers returns nothing, though forward has tokens"
    for layer in layers:
        assert layer.shape == tokens.shape, f"the tokens of a layer have shape {tuple(layer.shape)}"


CHECKS = (
    check_shapes,
    check_layers,
    check_rows_are_independent,
    check_padding,
    check_order_of_points,
    check_gradients,
    check_descent,
    check_state_dict,
)
