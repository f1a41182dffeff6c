"""The gradients of one batch, in as many micro-batches as memory requires."""

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
from mmrun.objectives.step_state import StepState
from mmrun.training.learner import Learner
from mmrun.types import Batch


class GradientAccumulator:
    """Adds the gradients of batches to those of the parameters, one micro-batch after the other.

    Where memory runs out, the batch is split into twice as many micro-batches and repeated from its beginning: rows,
    random masks and batch statistics are those of a step that was split so from the start.

    Args:
        learner: a `Learner`, as the accelerator prepared it.
        accelerator: precision and processes.
        micro_batches: per batch.
        on_more_micro_batches: called with the new number after memory ran out.
    """

    def __init__(
        self,
        learner: nn.Module,
        accelerator: Accelerator,
        micro_batches: int,
        on_more_micro_batches: Callable[[int], None],
    ) -> None:
        self.learner, self.accelerator = learner, accelerator
        self.bare: Learner = accelerator.unwrap_model(learner)
        self.micro_batches, self.on_more_micro_batches = micro_batches, on_more_micro_batches
        collecting = [module for module in self.bare.modules() if isinstance(module, _NormBase | StepState)]
        self.statistics: dict[torch.dtype, list[Tensor]] = defaultdict(list)  # by type: one kernel copies each list
        for module in collecting:
            for buffer in module.buffers():
                self.statistics[buffer.dtype].append(buffer)
        self.saved = {dtype: [b.clone() for b in buffers] for dtype, buffers in self.statistics.items()}

    def add(self, batch: Batch) -> dict[str, Tensor]:
        """Add the gradients of a batch, and return its losses, still on the device.

        Raises:
            RunError: memory does not hold a single row, or ran out in one of several processes.
        """
        while True:
            random_states = [torch.get_rng_state(), *_device_rng_state(self.accelerator.device)]
            for dtype, saved in self.saved.items():
                torch._foreach_copy_(saved, self.statistics[dtype])
            try:
                return self._add(batch)
            except torch.OutOfMemoryError as error:
                self._refuse_if_hopeless(batch, error)
            # Not within `except`: until its end the traceback keeps all that the failed attempt allocated.
            self._split_further(len(batch.index))
            self.discard()
            _restore_rng_states(random_states, self.accelerator.device)

    def discard(self) -> None:
        """Drop the gradients of the last batch, and what it did to batch statistics."""
        self.learner.zero_grad(set_to_none=True)
        for dtype, saved in self.saved.items():
            torch._foreach_copy_(self.statistics[dtype], saved)

    def _add(self, batch: Batch) -> dict[str, Tensor]:
        rows = len(batch.index)
        parts = build_micro_batches(self.bare, batch, self.micro_batches, self.accelerator)
        losses: dict[str, Tensor] = {}
        for number, part in enumerate(parts, start=1):
            weight = rows / len(part.index)
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(self.learner):
                part_losses = self.learner(part)
                scale = partial(scale_loss, self.accelerator.scaler, weight)
                self.bare.objective.backward(self.bare.model, part_losses, scale)
            for name, loss in part_losses.items():
                value = loss.detach().float()
                value = value if weight == 1 else value / weight
                losses[name] = losses[name] + value if name in losses else value
        return losses

    def _refuse_if_hopeless(self, batch: Batch, error: torch.OutOfMemoryError) -> None:
        if self.accelerator.num_processes > 1:  # the other processes wait, and do not know of it
            raise RunError(
                f"process {self.accelerator.process_index} is out of memory; set the stage's "
                f"grad_accum_steps={2 * self.micro_batches}, or lower trainer.batch_size"
            ) from error
        if self.micro_batches >= len(batch.index):
            refuse_one_row(split(batch, self.micro_batches)[0], error)

    def _split_further(self, rows: int) -> None:
        self.micro_batches = min(rows, 2 * self.micro_batches)
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        self.on_more_micro_batches(self.micro_batches)


def refuse_one_row(batch: Batch, error: torch.OutOfMemoryError) -> None:
    """Raise a RunError if the batch that memory does not hold is a single row.

    Args:
        batch: that memory does not hold.
        error: the cause.

    Raises:
        RunError: the batch is a single row, so it cannot be split.
    """
    if len(batch.index) == 1:
        raise RunError(
            "out of memory with one row at a time; try trainer.precision=bf16 or trainer.offload_activations=true, "
            f"or choose smaller encoders ({str(error).partition(chr(10))[0]})"
        ) from error


def scale_loss(scaler: GradScaler | None, weight: float, loss: Tensor) -> Tensor:
    """Divide a micro-batch's loss by its weight, and scale it up for fp16 where there is a scaler.

    Args:
        scaler: of fp16, or None.
        weight: rows of the batch divided by those of the micro-batch.
        loss: scalar, the mean over the micro-batch.
    """
    share = loss if weight == 1 else loss / weight  # a division would cost a step on a CPU 20 us
    return share if scaler is None else scaler.scale(share)


def build_micro_batches(learner: Learner, batch: Batch, number: int, accelerator: Accelerator) -> list[Batch]:
    """Split a batch into micro-batches, and weigh their means by the visible targets of all processes.

    The gradient is then that of the whole batch, however it is split. A batch that is a single micro-batch of a single
    process needs no weights.

    Args:
        learner: bare; its objective prepares the micro-batches.
        batch: of this process.
        number: of micro-batches.
        accelerator: precision and processes.
    """
    if number == 1 and accelerator.num_processes == 1:
        return [batch]
    with accelerator.autocast():
        parts = [learner.prepare(part) for part in split(batch, number)]
    counts = torch.stack([learner.count_visible(part) for part in parts])
    total = accelerator.reduce(counts.sum(0))
    return [learner.weigh(part, part_counts, total) for part, part_counts in zip(parts, counts.unbind(), strict=True)]


def split(batch: Batch, number: int) -> list[Batch]:
    """Split a batch into micro-batches of equal size; where it does not divide evenly, the last is smaller.

    Args:
        batch: B rows.
        number: of micro-batches, at most B.
    """
    if number == 1:
        return [batch]
    count = len(batch.index.chunk(number))
    rows = (batch.inputs, batch.present, batch.targets, batch.index)
    fields = [_chunk(field, number, count) for field in rows]
    return [Batch(*parts) for parts in zip(*fields, strict=True)]


def _chunk(value: Any, number: int, count: int) -> list[Any]:
    """Split the tensors in a value, of which each gives `count` chunks."""
    if isinstance(value, Tensor):
        return list(value.chunk(number))
    chunks = {key: _chunk(item, number, count) for key, item in value.items()}
    return [{key: items[i] for key, items in chunks.items()} for i in range(count)]


def first_rows(batch: Batch, number: int) -> Batch:
    """Return a batch's first rows."""
    if number == len(batch.index):
        return batch
    rows = (batch.inputs, batch.present, batch.targets, batch.index)
    return Batch(*(_first(field, number) for field in rows))


def _first(value: Any, number: int) -> Any:
    if isinstance(value, Tensor):
        return value[:number]
    return {key: _first(item, number) for key, item in value.items()}


def _device_rng_state(device: torch.device) -> list[Tensor]:
    return [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []


def _restore_rng_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
