"""Unstructured pruning: the smallest weights become zero."""

import torch
from torch import Tensor, nn

EMBEDDINGS = ("embed", "token", "position")  # in the last part of the name of a parameter that no module wraps


def prune_weights(model: nn.Module, share: float, per_layer: bool = False) -> None:
    """Set the weights of smallest magnitude to zero (Han et al., 2015).

    Args:
        model: changed in place.
        share: of the weights of convolutions, linear, recurrent and attention layers, above 0 and below 1.
        per_layer: remove that share of every layer; otherwise the smallest of all layers.
    """
    weights = list_weights(model)
    if per_layer:
        for weight in weights.values():
            _zero_smallest([weight], share)
    else:
        _zero_smallest(list(weights.values()), share)


def list_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of layers that multiply, by name: no biases, scales of norms, embeddings or positions.

    Args:
        model: any module.
    """
    embeddings = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    weights = {}
    for name, parameter in model.named_parameters():
        is_embedding = name in embeddings or any(part in name.rpartition(".")[2] for part in EMBEDDINGS)
        if parameter.ndim >= 2 and not is_embedding:
            weights[name] = parameter
    return weights


@torch.no_grad()
def _zero_smallest(weights: list[nn.Parameter], share: float) -> None:
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights])
    count = int(share * len(magnitudes))
    if count == 0:
        return
    smallest = torch.zeros(len(magnitudes), dtype=torch.bool, device=magnitudes.device)
    smallest[magnitudes.argsort()[:count]] = True
    sizes = [weight.numel() for weight in weights]
    for weight, part in zip(weights, smallest.split(sizes), strict=True):
        weight.masked_fill_(part.view_as(weight), 0.0)


def find_zeros(model: nn.Module) -> dict[str, Tensor]:
    """Return where weights are exactly zero, by name; only of tensors in which some are.

    Args:
        model: any module.
    """
    zeros = {name: weight.detach() == 0 for name, weight in list_weights(model).items()}
    return {name: mask for name, mask in zeros.items() if mask.any()}
