"""Fewer layers: blocks that keep the shape of their input are left out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmrun.models.compress.record import Drop
from mmrun.models.compress.structure import drop_children


def drop_blocks(model: nn.Module, share: float, forward: Callable[[], object]) -> list[Drop]:
    """Remove a share of the blocks of each outermost list of blocks, evenly spread over its depth (Fan et al., 2020).

    A block can go if it is a module of several layers whose output has the shape of its input: a transformer block, or
    a residual one without a stride.

    Args:
        model: changed in place.
        share: of the blocks of each list, above 0 and below 1; the first of them always stays.
        forward: runs the model on a few rows.

    Returns:
        What was dropped.
    """
    candidates = _find_droppable(model, forward)
    drops: list[Drop] = []
    for container, children in candidates.items():
        module = model.get_submodule(container)
        count = min(round(share * len(list(module.children()))), len(children))
        if count == len(list(module.children())):
            count -= 1
        if count > 0:
            drop: Drop = {"container": container, "children": _choose_evenly(children, count)}
            drop_children(module, drop["children"])
            drops.append(drop)
    return drops


def _choose_evenly(names: list[str], count: int) -> list[str]:
    """Return so many names, evenly spread, the last among them."""
    step = len(names) / count
    return [names[round((number + 1) * step) - 1] for number in range(count)]


def _find_droppable(model: nn.Module, forward: Callable[[], object]) -> dict[str, list[str]]:
    """Return the names of the blocks that keep the shape of their input, by list of blocks."""
    keeps_shape: dict[nn.Module, bool] = {}

    def observe(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        leaving = _list_shapes(output if isinstance(output, tuple) else (output,))
        entering = _list_shapes(inputs)
        keeps_shape[module] = bool(leaving and entering) and leaving[: len(entering)] == entering[: len(leaving)]

    containers = _list_containers(model)
    blocks = [block for container in containers.values() for block in container.children()]
    hooks = [block.register_forward_hook(observe) for block in blocks]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    droppable = {}
    for name, container in containers.items():
        names = [child for child, block in container.named_children() if keeps_shape.get(block, False)]
        droppable[name] = [child for child in names if _is_block(container.get_submodule(child))]
    return {name: children for name, children in droppable.items() if children}


def _list_shapes(values: tuple[object, ...]) -> list[torch.Size]:
    return [value.shape for value in values if isinstance(value, Tensor)]


def _is_block(module: nn.Module) -> bool:
    """Return whether a module holds several layers with weights."""
    layers = [part for part in module.modules() if any(weight.ndim >= 2 for weight in part.parameters(recurse=False))]
    return len(layers) > 1


def _list_containers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the outermost lists of blocks by name; where their blocks are lists again, as stages are, those."""
    containers: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        parent = containers.get(name.rpartition(".")[0])
        is_inside = any(name.startswith(f"{outer}.") for outer in containers)
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) and (parent or not is_inside):
            containers[name] = module
    return containers
