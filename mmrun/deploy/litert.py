"""A run as a LiteRT file, by litert-torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from mmrun.deploy.graph import Graph, Inputs, Tensors, name_failing_part, without_messages
from mmrun.deploy.run_models import open_litert, without_native_messages
from mmrun.models.encoders.logmel import LogMel


class Flat(nn.Module):
    """A module of plain tensors; litert-torch has names for no other inputs and outputs.

    Args:
        module: that computes.
        arguments: of the module, any tree of tensors.
    """

    def __init__(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        super().__init__()
        self.module = module
        self.leaves, self.structure = tree_flatten(arguments)

    def forward(self, *tensors: Tensor) -> list[Tensor]:
        """Compute, and return all tensors of the output.

        Args:
            tensors: those of the arguments.
        """
        remaining = iter(tensors)
        leaves = [next(remaining) if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        return _list_tensors(self.module(*tree_unflatten(leaves, self.structure)))


def _list_tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def save_litert(graph: Graph, inputs: Inputs, path: Path) -> dict[str, Tensors]:
    """Save a graph as LiteRT, for one row at a time: litert-torch lowers few operators for a free number of rows.

    Args:
        graph: in eval mode.
        inputs: rows, of which the first is traced.
        path: written.

    Returns:
        The inputs of the file by name; those of 64 bits became 32.

    Raises:
        RunError: a part of the model cannot be converted; it is named.
    """
    row = {name: tensor[:1] for name, tensor in inputs.items()}

    def export(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if module is not graph:
            module, arguments = Flat(module, arguments).eval(), tuple(_list_tensors(arguments))
        convert(module, arguments, path)
        open_litert(path)  # which fails where LiteRT lacks an operator

    name_failing_part("LiteRT", export, graph, row)
    return {name: _describe(tensor) for name, tensor in row.items()}


def convert(module: nn.Module, arguments: tuple[Any, ...], path: Path) -> None:
    """Convert a module to a LiteRT file.

    Args:
        module: in eval mode.
        arguments: that it is traced with.
        path: written.
    """
    with torch.no_grad(), without_messages(), without_native_messages(), _without_complex_numbers(module):
        import litert_torch

        litert_torch.config.show_progress = False
        litert_torch.convert(module, arguments).export(str(path))


@contextmanager
def _without_complex_numbers(module: nn.Module) -> Iterator[None]:
    spectrograms = [part for part in module.modules() if isinstance(part, LogMel)]
    for spectrogram in spectrograms:
        spectrogram.waves = spectrogram.build_waves()
    try:
        yield
    finally:
        for spectrogram in spectrograms:
            spectrogram.waves = None


def _describe(tensor: Tensor) -> Tensors:
    dtype = tensor.int().dtype if tensor.dtype == torch.int64 else tensor.dtype
    return {"dtype": str(dtype).removeprefix("torch."), "shape": list(tensor.shape)}
