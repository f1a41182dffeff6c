"""Structured pruning of filters and hidden units: layers become narrower, so that the model is smaller and faster."""

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.installation import format_pip_command
from mmrun.models.compress.structure import BATCH_NORMS, CONVOLUTIONS

PRUNABLE = (*CONVOLUTIONS, nn.Linear, *BATCH_NORMS)
TOLERANCE = 1e-3  # of outputs, relative to their largest

Forward = Callable[[], list[Tensor]]
Gradients = Mapping[str, Tensor]  # of weights by their names in the model; empty: importance is the L1 norm


def prune_filters(model: nn.Module, forward: Forward, share: float, gradients: Gradients) -> list[str]:
    """Remove the least important filters and hidden units inside a model; its outputs keep their width.

    Channels that meet in a sum, a concatenation or a batch norm go together; torch-pruning traces which do (Fang et
    al., 2023). Each removal is checked: the outputs must be those of the model in which these channels count as zero.
    What fails, such as a channel that a layer norm averages, stays.

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
    pruning = _import_torch_pruning()
    weights = dict(model.named_parameters())
    names = {module: name for name, module in model.named_modules()}
    importance = {id(weights[name]): (weights[name] * gradient).abs() for name, gradient in gradients.items()}
    required = {name: weight.requires_grad for name, weight in weights.items()}
    model.requires_grad_(True)  # the graph is found from gradients
    narrowed = []
    try:
        for group in _iterate_groups(pruning, model, forward):
            scores = _score_channels(pruning, group, importance)
            if _prune_group(pruning, group, scores, share, forward, importance):
                narrowed.append(names[group[0].dep.target.module])
    finally:
        for name, weight in model.named_parameters():
            weight.requires_grad_(required[name])
    return narrowed


def _import_torch_pruning() -> ModuleType:
    try:
        import torch_pruning
    except ImportError:
        command = format_pip_command("install", "torch-pruning")
        raise ConfigError(f"--prune-filters needs torch-pruning; {command}") from None
    module: ModuleType = torch_pruning
    return module


def _iterate_groups(pruning: ModuleType, model: nn.Module, forward: Forward) -> Iterator[Any]:
    """Yield the groups of channels that can only go together, of layers that can become narrower."""
    try:
        graph = pruning.DependencyGraph().build_dependency(
            model,
            example_inputs=(),
            forward_fn=lambda model, inputs: forward(),
            unwrapped_parameters=[],
            verbose=False,
        )
    except Exception:  # it traces any code, and fails in any way: then nothing is known to go together
        return
    for group in graph.get_all_groups(root_module_types=[*CONVOLUTIONS, nn.Linear]):
        modules = [dependency.target.module for dependency, _ in group]
        is_known = all(isinstance(module, PRUNABLE) or _is_operation(pruning, module) for module in modules)
        if is_known and not any(_is_grouped(module) for module in modules):
            yield group


def _is_operation(pruning: ModuleType, module: nn.Module) -> bool:
    """Return whether a node of the graph is an operation without weights: a sum, a reshape ..."""
    return type(module).__module__.startswith(pruning.__name__) and not any(True for _ in module.parameters())


def _is_grouped(module: nn.Module) -> bool:
    return isinstance(module, CONVOLUTIONS) and module.groups > 1 and module.groups != module.out_channels


def _score_channels(pruning: ModuleType, group: Any, importance: Mapping[int, Tensor]) -> Tensor:
    """Return the importance of each channel of a group: of the filters that make it, in all layers."""
    scores = torch.zeros(len(group[0].idxs))
    for dependency, channels in group:
        layer = dependency.target.module
        is_output = dependency.handler in (
            pruning.prune_conv_out_channels,
            pruning.prune_linear_out_channels,
            pruning.prune_depthwise_conv_out_channels,
        )
        if is_output and len(channels) == len(scores):
            values = importance.get(id(layer.weight), layer.weight.abs())
            scores += values.detach().flatten(1).sum(1)[channels].cpu()
    return scores


def _prune_group(
    pruning: ModuleType,
    group: Any,
    scores: Tensor,
    share: float,
    forward: Forward,
    importance: dict[int, Tensor],
) -> bool:
    """Remove the least important channels of a group, unless the outputs are then not those that they should be."""
    count = min(int(share * len(scores)), len(scores) - 1)
    if count == 0:
        return False
    root = group[0].dep.target.module
    channels = [group[0].idxs[place] for place in scores.argsort()[:count].tolist()]
    removal = group[0].dep.handler
    smaller = group._DG.get_pruning_group(root, removal, sorted(channels))
    before = [_Snapshot(dependency.target.module) for dependency, _ in smaller]
    expected = _forward_without(pruning, smaller, forward)
    try:
        smaller.prune()
        with torch.no_grad():
            actual = forward()
        is_exact = all(map(_is_close, actual, expected))
    except (RuntimeError, IndexError, ValueError, AssertionError):  # a reshape by a number that the code holds
        is_exact = False
    if not is_exact:
        for snapshot in before:
            snapshot.restore()
        return False
    for snapshot in before:
        snapshot.carry_importance(importance, smaller, pruning)
    return True


def _is_close(actual: Tensor, expected: Tensor) -> bool:
    scale = expected.abs().max().clamp(min=1e-12)
    return actual.shape == expected.shape and bool((actual - expected).abs().max() <= TOLERANCE * scale)


@torch.no_grad()
def _forward_without(pruning: ModuleType, group: Any, forward: Forward) -> list[Tensor]:
    """Return the outputs with the channels of a group set to zero where layers read them."""
    changed: list[tuple[Tensor, Tensor]] = []
    for dependency, channels in group:
        if dependency.handler in (pruning.prune_conv_in_channels, pruning.prune_linear_in_channels):
            weight = dependency.target.module.weight
            changed.append((weight, weight.clone()))
            weight[:, channels] = 0.0
    try:
        return forward()
    finally:
        for weight, values in reversed(changed):
            weight.copy_(values)


class _Snapshot:
    """What a layer was before its channels were removed."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.parameters, self.buffers = dict(module._parameters), dict(module._buffers)

    def restore(self) -> None:
        """Give the layer back what it had."""
        vars(self.module).update(self.attributes)
        self.module._parameters.update(self.parameters)
        self.module._buffers.update(self.buffers)

    def carry_importance(self, importance: dict[int, Tensor], group: Any, pruning: ModuleType) -> None:
        """Keep the importance of the weights that remain."""
        weight = self.parameters.get("weight")
        values = None if weight is None else importance.pop(id(weight), None)
        if values is None:
            return
        for dependency, channels in group:
            if dependency.target.module is not self.module:
                continue
            is_input = dependency.handler in (pruning.prune_conv_in_channels, pruning.prune_linear_in_channels)
            axis = 1 if is_input else 0
            kept = sorted(set(range(values.shape[axis])) - set(channels))
            values = values.index_select(axis, torch.tensor(kept, device=values.device))
        importance[id(self.module.weight)] = values
