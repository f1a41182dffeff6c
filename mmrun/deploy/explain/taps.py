"""A tensor inside an encoder that can be read and replaced, so that gradients begin there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Tap:
    """The input or the output of a module, a single tensor.

    Attributes:
        module: part of an encoder; called once per forward pass.
        side: input or output.
    """

    module: nn.Module
    side: Literal["input", "output"] = "output"

    def read(self, forward: Callable[[], object]) -> Tensor:
        """Return the tensor of one forward pass."""
        tensors: list[Tensor] = []

        def keep(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
            tensors.append(output if self.side == "output" else [*args, *kwargs.values()][0])

        handle = self.module.register_forward_hook(keep, with_kwargs=True)
        try:
            with torch.no_grad():
                forward()
        finally:
            handle.remove()
        return tensors[0]

    @contextmanager
    def replace(self, value: Tensor) -> Iterator[None]:
        """Replace the tensor in every forward pass inside the block."""

        def replace_input(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            if args:
                return (value, *args[1:]), kwargs
            return args, {name: value if number == 0 else item for number, (name, item) in enumerate(kwargs.items())}

        def replace_output(*_: object) -> Tensor:
            return value

        if self.side == "output":
            handle = self.module.register_forward_hook(replace_output)
        else:
            handle = self.module.register_forward_pre_hook(replace_input, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
