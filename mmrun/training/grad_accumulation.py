"""The gradients of one batch, in as many micro-batches as memory asks for."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.modules.batchnorm import _NormBase

from mmrun.errors import RunError
from mmrun.types import Batch


class GradientAccumulator:
    """Adds the gradients of batches to those of the parameters, one micro-batch after the other.

    A batch that memory does not hold is cut into twice as many parts and taken again from its beginning: its rows, its
    random masks and batch statistics are those of a step that was cut so from the start. `grown` then hears of it.
    """

    def __init__(self, learner: nn.Module, accelerator: Accelerator, parts: int, grown: Callable[[int], None]) -> None:
        self.learner, self.accelerator = learner, accelerator
        self.bare = accelerator.unwrap_model(learner)
        self.parts, self.grown = parts, grown
        norms = [module for module in self.bare.modules() if isinstance(module, _NormBase)]
        self.statistics: dict[torch.dtype, list[Tensor]] = defaultdict(list)  # of one type each: copied by one kernel
        for buffer in (buffer for norm in norms for buffer in norm.buffers()):
            self.statistics[buffer.dtype].append(buffer)
        self.before = {dtype: [b.clone() for b in buffers] for dtype, buffers in self.statistics.items()}

    def add(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradients of a batch, and give its losses, still on the device."""
        while True:
            random = [torch.get_rng_state(), *_device_random(self.accelerator.device)]
            for dtype, before in self.before.items():
                torch._foreach_copy_(before, self.statistics[dtype])
            try:
                return self._add(batch)
            except torch.OutOfMemoryError as error:
                self._refuse(batch, error)
            # Not within `except`: until its end the traceback keeps all that the failed attempt held.
            self._cut(len(batch.index))
            self.learner.zero_grad(set_to_none=True)
            for dtype, before in self.before.items():
                torch._foreach_copy_(self.statistics[dtype], before)
            _put_back(random, self.accelerator.device)

    def _add(self, batch: Batch) -> dict[str, Tensor]:
        rows = len(batch.index)
        parts = split(batch, self.parts)
        losses: dict[str, Tensor] = {}
        for number, part in enumerate(parts, start=1):
            weight = rows / len(part.index)
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(self.learner):
                found = self.learner(part)
                self.bare.objective.backward(self.bare.model, found, partial(scaled, self.accelerator.scaler, weight))
            for name, loss in found.items():
                value = loss.detach().float() / weight
                losses[name] = losses[name] + value if name in losses else value
        return losses

    def _refuse(self, batch: Batch, error: torch.OutOfMemoryError) -> None:
        """End the run where a batch cannot be cut further."""
        if self.accelerator.num_processes > 1:  # the others do not know of it, and wait
            raise RunError(
                f"process {self.accelerator.process_index} is out of memory; give the stage "
                f"accumulate={2 * self.parts}, or lower trainer.batch_size"
            ) from error
        if self.parts >= len(batch.index):
            refuse_one_row(split(batch, self.parts)[0], error)

    def _cut(self, rows: int) -> None:
        self.parts = min(rows, 2 * self.parts)
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        self.grown(self.parts)


def refuse_one_row(batch: Batch, error: torch.OutOfMemoryError) -> None:
    """End the run where memory does not hold a single row."""
    if len(batch.index) == 1:
        raise RunError(
            "out of memory with one row at a time; try trainer.precision=bf16 or trainer.offload_activations=true, "
            f"or choose smaller encoders ({str(error).partition(chr(10))[0]})"
        ) from error


def scaled(scaler: GradScaler | None, weight: float, loss: Tensor) -> Tensor:
    """Make a loss one of several micro-batches', and large enough for fp16."""
    share = loss / weight
    return share if scaler is None else scaler.scale(share)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Cut a batch into micro-batches of equal size; where it does not divide, the last is smaller."""
    if parts == 1:
        return [batch]
    pieces = [_chunk(field, parts) for field in batch]
    return [Batch(*fields) for fields in zip(*pieces, strict=True)]


def _chunk(value: Any, parts: int) -> list[Any]:
    if isinstance(value, Tensor):
        return list(value.chunk(parts))
    pieces = {key: _chunk(item, parts) for key, item in value.items()}
    number = len(next(iter(pieces.values())))
    return [{key: items[i] for key, items in pieces.items()} for i in range(number)]


def first_rows(batch: Batch, number: int) -> Batch:
    """Give a batch's first rows."""
    return batch if number == len(batch.index) else Batch(*(_first(field, number) for field in batch))


def _first(value: Any, number: int) -> Any:
    if isinstance(value, Tensor):
        return value[:number]
    return {key: _first(item, number) for key, item in value.items()}


def _device_random(device: torch.device) -> list[Tensor]:
    return [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []


def _put_back(random: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(random[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(random[1], device)
