"""Batches from preprocessed columns, on a device."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mmrun.data import length_groups
from mmrun.data.prefetch import Batcher, Prefetcher, SyncBatcher
from mmrun.data.sampler import Permutations, RowSampler, RowStream, shard_batch
from mmrun.data.store import LazyColumn, PreprocessedColumn
from mmrun.types import IGNORE_INDEX, Batch, Input

LAZY_THREADS = 2  # batches that are decoded at a time where a column is not stored
MEASURED_ROWS = 2048  # of the batches whose mean width is that of a typical one
LAZY_AHEAD = 4  # batches that are decoded before they are needed
SCALE = {torch.uint8: 255.0, torch.int16: 32768.0}  # integers that stand for 0..1 and -1..1


class Loader:
    """Loads some rows of a data set as batches on a device.

    Training reads `batch(step)`: any batch can be loaded at any time, so nothing has to be saved to resume. Evaluation
    reads `ordered()`: every row once.

    Args:
        columns: by modality.
        targets: by task: [N] or [N, C].
        rows: row numbers [n].
        batch_size: rows per batch of all ranks together.
        seed: of the order of training rows.
        device: that batches are on.
        hidden: numbers of the rows whose targets may not be seen; None: all may.
        rank: of this process.
        world: number of processes; it divides `batch_size`.
        cropped: modalities whose padding is cropped where all rows of a batch have it; those without a column are
            ignored. Batch 0 is as wide as the longest row of all: what is tried on it, such as whether it fits into
            memory, holds for all batches.
        group_by_length: rows of similar length, in the modalities that are cropped, share training batches.
        stream: order of the rows in training; None: one permutation per epoch.
    """

    def __init__(
        self,
        columns: Mapping[str, PreprocessedColumn],
        targets: Mapping[str, np.ndarray],
        rows: np.ndarray,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        hidden: np.ndarray | None = None,
        rank: int = 0,
        world: int = 1,
        cropped: Collection[str] = (),
        group_by_length: bool = False,
        stream: RowStream | None = None,
    ) -> None:
        assert batch_size % world == 0, "the ranks share a batch evenly"
        self.columns = dict(columns)
        self.rows = np.asarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.rank, self.world = rank, world
        self.group_by_length = group_by_length
        self.stream = stream
        self.targets = {name: torch.from_numpy(hide_targets(values, hidden)) for name, values in targets.items()}
        self.cropped = frozenset(cropped) & self.columns.keys()
        self.build_batch = BatchBuilder(self.columns, self.targets, self.device, self.cropped)
        is_lazy = any(isinstance(column, LazyColumn) for column in self.columns.values())
        self._batcher: Batcher = SyncBatcher(self.build_batch)
        if is_lazy:
            self._batcher = Prefetcher(self.build_batch, self.device, LAZY_THREADS, LAZY_AHEAD)
        elif self.device.type == "cuda":  # copies are waited for while the device computes
            self._batcher = Prefetcher(self.build_batch, self.device)
        self._pending: dict[int, object] = {}  # by step

    @property
    def steps_per_epoch(self) -> float:
        """How many batches the rows fill; the last one of an epoch is completed with rows of the next."""
        return len(self.rows) / self.batch_size

    @cached_property
    def sampler(self) -> RowSampler:
        """Which rows are in a training batch; built when it is needed, since rows may be measured for it."""
        stream = self.stream
        if stream is None:
            cropped = [self.columns[modality] for modality in sorted(self.cropped)]
            lengths = length_groups.measure_columns(cropped) if self.group_by_length else None
            stream = Permutations(self.rows, self.seed, lengths=lengths, batch_size=self.batch_size)
        return RowSampler(stream, self.batch_size, self.rank, self.world)

    def batch(self, step: int) -> Batch:
        """Return this rank's share of a training batch, and start to load the next ones.

        Args:
            step: optimiser step, from 0.
        """
        pending = self._pending[step] if step in self._pending else self._submit(step)
        next_steps = range(step + 1, step + 1 + self._batcher.ahead)
        self._pending = {later: self._pending.get(later) or self._submit(later) for later in next_steps}
        return self._batcher.result(pending)

    def typical_batch(self) -> Batch:
        """Return the rows of batch 0 at the mean width of this epoch's batches: a step on it costs what steps cost.

        Every rank measures the same batches, so that all count as many operations.
        """
        batch = self.batch(0)
        num_measured = max(4, MEASURED_ROWS // self.batch_size)
        steps = np.unique(np.linspace(1, self.steps_per_epoch, num_measured).astype(np.int64))
        positions = steps[:, None] * self.batch_size + np.arange(self.batch_size)
        rows = self.sampler.stream.take(positions.ravel()).reshape(len(steps) * self.world, -1)
        inputs = dict(batch.inputs)
        for modality in self.cropped:
            width, x = length_groups.compute_mean_width(self.columns[modality], rows), inputs[modality]
            if width is not None and isinstance(x, dict):
                inputs[modality] = length_groups.crop_parts(x, width)
        return batch._replace(inputs=inputs)

    def ordered(self) -> Iterator[Batch]:
        """Yield this rank's share of all rows in order.

        Every rank yields the same number of batches. Where the ranks do not divide the last batch, its last row is
        repeated; `index` shows which.
        """
        for batch, _ in self.counted():
            yield batch

    def counted(self) -> Iterator[tuple[Batch, int]]:
        """Yield the batches of `ordered`, each with the number of its rows that are not repeated; these come first."""
        pending: deque[tuple[object, int]] = deque()
        for start in range(0, len(self.rows), self.batch_size):
            rows, count = shard_batch(self.rows[start : start + self.batch_size], self.rank, self.world)
            pending.append((self._batcher.submit(rows), count))
            if len(pending) > self._batcher.ahead:
                request, count = pending.popleft()
                yield self._batcher.result(request), count
        for request, count in pending:
            yield self._batcher.result(request), count

    def without_inputs(self) -> Batch:
        """Return targets and presence of all rows, over all ranks."""
        rows = torch.from_numpy(self.rows)
        return Batch(
            inputs={},
            present={name: column.present[rows].to(self.device) for name, column in self.columns.items()},
            targets={name: values[rows].to(self.device) for name, values in self.targets.items()},
            index=rows.to(self.device),
        )

    def _submit(self, step: int) -> object:
        widths = self.build_batch.longest_widths if step == 0 else None
        return self._batcher.submit(self.sampler.sample_batch(step), widths)


class BatchBuilder:
    """Gathers rows from columns and targets into a batch on a device.

    Args:
        columns: by modality.
        targets: by task, with hidden ones hidden: [N] or [N, C].
        device: that the batch is on.
        cropped: modalities whose padding is cropped.
    """

    def __init__(
        self,
        columns: Mapping[str, PreprocessedColumn],
        targets: Mapping[str, Tensor],
        device: torch.device,
        cropped: Collection[str] = (),
    ) -> None:
        self.columns, self.targets, self.device = columns, targets, device
        self.cropped = cropped

    @cached_property
    def longest_widths(self) -> dict[str, int]:
        """Widths that hold the longest row of all, by modality that is cropped; none of rows that are decoded anew."""
        widths = {name: length_groups.compute_longest_width(self.columns[name]) for name in sorted(self.cropped)}
        return {name: width for name, width in widths.items() if width is not None}

    def __call__(self, rows: np.ndarray, widths: Mapping[str, int] | None = None) -> Batch:
        """Build a batch.

        Args:
            rows: row numbers [B].
            widths: to which modalities are cropped; None: to that of the longest of these rows.
        """
        index = torch.from_numpy(rows)
        inputs: dict[str, Input] = {}
        for name, column in self.columns.items():
            stored = column.gather(index, pin=self.device.type == "cuda")
            if widths is None and name in self.cropped:
                stored = length_groups.crop_padding(stored)
            elif widths is not None and name in widths:
                stored = length_groups.crop_parts(stored, widths[name])
            parts = {part: self._copy_and_convert(tensor) for part, tensor in stored.items()}
            inputs[name] = parts[""] if list(parts) == [""] else parts
        return Batch(
            inputs=inputs,
            present={name: self._copy_pinned(column.present[index]) for name, column in self.columns.items()},
            targets={name: self._copy_pinned(values[index]) for name, values in self.targets.items()},
            index=self._copy_pinned(index),
        )

    def _copy_pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _copy_and_convert(self, stored: Tensor) -> Tensor:
        """Copy in the stored type, which is small, then convert on the device."""
        return convert_stored(stored.to(self.device, non_blocking=True))


def convert_stored(stored: Tensor) -> Tensor:
    """Convert a part of a column to what models read: pixels to 0..1, samples to -1..1, ids to int64.

    Args:
        stored: uint8, int16, int32, or a type that stays.
    """
    if stored.dtype in SCALE:
        return stored.float().div_(SCALE[stored.dtype])
    return stored.long() if stored.dtype == torch.int32 else stored


def hide_targets(values: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """Return targets in which those of some rows are hidden: IGNORE_INDEX for classes, NaN for numbers and labels.

    Args:
        values: [N] or [N, C]; they are not changed.
        rows: numbers of the rows to hide [n]; None: none.
    """
    if rows is None or len(rows) == 0:
        return values
    hidden = values.copy()
    hidden[rows] = IGNORE_INDEX if np.issubdtype(values.dtype, np.integer) else np.nan
    return hidden
