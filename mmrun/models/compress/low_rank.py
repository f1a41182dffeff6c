"""Low-rank factors: a layer becomes the product of two narrower ones, by truncated singular value decomposition."""

import torch
from torch import nn

from mmrun.models.compress.layers import Layer
from mmrun.models.compress.structure import Factors, build_factors, can_factorize, replace_module


def factorize(model: nn.Module, share: float) -> int:
    """Replace linear layers and convolutions by products of two, of the rank that removes a share of their weights.

    The factors are the best of their rank (Eckart & Young, 1936), for layers as in Sainath et al. (2013) and for
    convolutions as in Zhang et al. (2016): first the kernels, then a convolution of size 1.

    Args:
        model: changed in place.
        share: of the weights of each layer that is removed, above 0 and below 1.

    Returns:
        The number of layers that were replaced.
    """
    skipped: tuple[str, ...] = ()
    layers: dict[str, Layer] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):  # torch reads its weights directly
            skipped += (f"{name}.",)
        elif can_factorize(module) and not name.startswith(skipped) and choose_rank(module, share) is not None:
            layers[name] = module
    for name, layer in layers.items():
        rank = choose_rank(layer, share)
        assert rank is not None
        replace_module(model, name, _decompose(layer, rank))
    return len(layers)


def choose_rank(layer: Layer, share: float) -> int | None:
    """Return the rank at which two factors have so much fewer weights than the layer; None if there is none.

    Args:
        layer: linear, or a convolution.
        share: of the weights that is removed.
    """
    outputs, inputs = layer.weight.flatten(1).shape
    rank = int((1 - share) * outputs * inputs / (outputs + inputs))
    return rank if 1 <= rank < min(outputs, inputs) else None


@torch.no_grad()
def _decompose(layer: Layer, rank: int) -> Factors:
    weight = layer.weight
    left, values, right = torch.linalg.svd(weight.flatten(1).float(), full_matrices=False)
    factors = build_factors(layer, rank).to(weight.device, weight.dtype)
    root = values[:rank].sqrt()
    factors.down.weight.copy_((root[:, None] * right[:rank]).view_as(factors.down.weight))
    factors.up.weight.copy_((left[:, :rank] * root).view_as(factors.up.weight))
    if layer.bias is not None and factors.up.bias is not None:
        factors.up.bias.copy_(layer.bias)
    return factors
