"""Structured pruning of filters and hidden units: layers become narrower, so that the model is smaller and faster."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmrun.models.compress.dependencies import Dependencies, Forward, Group, Member
from mmrun.models.compress.layers import BATCH_NORMS

TOLERANCE = 1e-3  # of outputs, relative to their largest

Gradients = Mapping[str, Tensor]  # of weights by their names in the model; empty: importance is the L1 norm


def prune_filters(model: nn.Module, forward: Forward, share: float, gradients: Gradients) -> list[str]:
    """Remove the least important filters and hidden units inside a model; its outputs keep their width.

    Channels that meet in a sum, a concatenation or a batch norm go together. Each removal is checked: the outputs must
    be those of the model in which these channels count as zero. What fails, such as a channel that a layer norm
    averages, stays.

    Importance is the L1 norm of a filter (Li et al., 2017) or, where gradients are given, how much the loss would
    change without it, to first order: |weight x gradient|, summed (Molchanov et al., 2019).

    Args:
        model: changed in place, in eval mode.
        forward: returns the model's outputs for a few rows, the same rows in each call.
        share: of the channels of each layer, above 0 and below 1; one always stays.
        gradients: of the loss, by names of the model's parameters.

    Returns:
        Names of the layers that became narrower, one for each group of layers.

    Raises:
        ConfigError: torch-pruning is not installed.
    """
    required = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    names = {module: name for name, module in model.named_modules()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(True)
        # The importance of each weight: torch-pruning removes channels from it, too
        parameter.grad = (parameter * gradients[name]).abs().detach() if name in gradients else None
    dependencies = Dependencies(model, forward)
    try:
        roots = [root for root in dependencies.find_roots() if _narrow(dependencies, root, share)]
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(required[name]).grad = None
    return [names[root] for root in roots]


def _narrow(dependencies: Dependencies, root: nn.Module, share: float) -> bool:
    """Remove the least important outputs of a layer, and return whether they could go."""
    num_channels = Member(root, False, []).weight.shape[0]
    count = int(share * num_channels)
    if count == 0:
        return False
    whole = dependencies.find_group(root, range(num_channels))
    if whole is None:
        return False
    least = _score_channels(whole, num_channels).argsort()[:count].sort().values
    group = dependencies.find_group(root, least.tolist())
    return group is not None and _remove(group, dependencies.forward)


def _score_channels(group: Group, num_channels: int) -> Tensor:
    """Return the importance of each channel of a group: of the filters that make it, in all layers."""
    scores = torch.zeros(num_channels)
    for member in group.members:
        if member.is_input or len(member.channels) != num_channels or isinstance(member.layer, BATCH_NORMS):
            continue
        weight = member.weight
        if max(member.channels) < len(weight):
            importance = weight.detach().abs() if weight.grad is None else weight.grad
            scores += importance.flatten(1).sum(1)[member.channels].cpu()
    return scores


def _remove(group: Group, forward: Forward) -> bool:
    """Remove the channels of a group, unless the outputs are then not those that they should be."""
    before = [_Snapshot(member.layer) for member in group.members]
    try:
        expected = _forward_without(group, forward)
        group.remove()
        with torch.no_grad():
            is_exact = all(map(_is_close, forward(), expected))
    except (RuntimeError, IndexError, ValueError, AssertionError):  # such as a reshape by a number that the code holds
        is_exact = False
    if not is_exact:
        for snapshot in before:
            snapshot.restore()
    return is_exact


def _is_close(actual: Tensor, expected: Tensor) -> bool:
    scale = expected.abs().max().clamp(min=1e-12)
    return actual.shape == expected.shape and bool((actual - expected).abs().max() <= TOLERANCE * scale)


@torch.no_grad()
def _forward_without(group: Group, forward: Forward) -> list[Tensor]:
    """Return the outputs with the channels of a group set to zero where layers read them."""
    changed: list[tuple[Tensor, Tensor]] = []
    try:
        for member in group.members:
            if member.is_input:
                changed.append((member.weight, member.weight.clone()))
                member.weight[:, member.channels] = 0.0
        return forward()
    finally:
        for weight, values in reversed(changed):
            weight.copy_(values)


class _Snapshot:
    """What a layer was before its channels were removed."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.attributes = dict(vars(layer))
        self.parameters, self.buffers = dict(layer._parameters), dict(layer._buffers)

    def restore(self) -> None:
        """Restore what the layer had."""
        vars(self.layer).update(self.attributes)
        self.layer._parameters.update(self.parameters)
        self.layer._buffers.update(self.buffers)
