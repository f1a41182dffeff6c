"""Batches from preprocessed columns: row order is a function of (seed, epoch) alone, and any batch can be asked for."""

import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmrun.data import length_groups
from mmrun.data.prefetch import Prefetcher, SyncBatcher
from mmrun.data.store import LazyColumn, PreprocessedColumn
from mmrun.types import IGNORE_INDEX, Batch, Input

SCALE = {torch.uint8: 255.0, torch.int16: 32768.0}  # stored integers that stand for 0..1 and -1..1


class Loader:
    """Some rows of a data set as batches on a device.

    Training reads `batch(step)`: the stream of rows is one permutation per epoch after the other, batch `step` is its
    positions step * batch_size and on, so that all batches are of one size and nothing needs to be saved to resume.
    Evaluation reads `ordered()`: every row once. `batch_size` counts the rows of all `world` ranks together.

    `group_by_length`: rows whose texts have similar lengths share training batches, and padding that all rows of a
    batch have is cut off. Batch 0 is whole: operations counted or memory tried on it are the most that any batch takes.
    """

    def __init__(
        self,
        columns: Mapping[str, PreprocessedColumn],
        targets: Mapping[str, np.ndarray],
        rows: np.ndarray,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        hidden: np.ndarray | None = None,  # rows whose targets may not be seen
        rank: int = 0,
        world: int = 1,
        group_by_length: bool = False,
    ) -> None:
        assert batch_size % world == 0, "the ranks share a batch evenly"
        self.columns = dict(columns)
        self.rows = np.asarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.rank, self.world = rank, world
        self.group_by_length = group_by_length
        self.targets = {name: torch.from_numpy(hide(values, hidden)) for name, values in targets.items()}
        self._orders: dict[int, np.ndarray] = {}
        lazy = any(isinstance(column, LazyColumn) for column in self.columns.values())
        waits = lazy or self.device.type == "cuda"  # for files or for copies: better while the device computes
        self._maker: Any = Prefetcher(self._gather, self.device) if waits else SyncBatcher(self._gather)
        self._begun: dict[int, Any] = {}  # by step

    @property
    def steps_per_epoch(self) -> float:
        """How many batches the rows fill; the last one of an epoch is filled up from the next."""
        return len(self.rows) / self.batch_size

    def order(self, epoch: int) -> np.ndarray:  # [n] int64
        """Return the rows in the order of an epoch."""
        if epoch not in self._orders:
            rng = np.random.default_rng([zlib.crc32(b"order"), self.seed, epoch])
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            order = self.rows[rng.permutation(len(self.rows))]
            if self._lengths is not None:
                start = epoch * len(order)
                order = length_groups.bucketed(order, self._lengths[order], start, self.batch_size, rng)
            self._orders[epoch] = order
        return self._orders[epoch]

    def batch(self, step: int) -> Batch:
        """Return the batch of a training step: this rank's share."""
        pending = self._begun[step] if step in self._begun else self._begin(step)
        self._begun = {step + 1: self._begin(step + 1)}
        return self._maker.result(pending)

    def ordered(self) -> Iterator[Batch]:
        """Return all rows in order, each once; ranks divide each batch.

        Every rank gives as many batches: where the last does not divide, its last row is repeated; the index tells.
        """
        for batch, _ in self.counted():
            yield batch

    def counted(self) -> Iterator[tuple[Batch, int]]:
        """Yield the batches of `ordered`, each with the number of its rows that are not repeated; these come first."""
        pending: list[tuple[Any, int]] = []
        for start in range(0, len(self.rows), self.batch_size):
            share, own = self._share(self.rows[start : start + self.batch_size])
            pending.append((self._maker.submit(share, self.group_by_length), own))
            if len(pending) == 2:
                yield self._taken(*pending.pop(0))
        for item in pending:
            yield self._taken(*item)

    @cached_property
    def _lengths(self) -> np.ndarray | None:  # [N]
        return length_groups.lengths(self.columns.values()) if self.group_by_length else None

    def _begin(self, step: int) -> Any:
        return self._maker.submit(self._stream(step), self.group_by_length and step > 0)

    def _taken(self, pending: Any, own: int) -> tuple[Batch, int]:
        return self._maker.result(pending), own

    def _stream(self, step: int) -> np.ndarray:
        """Return this rank's rows of a training step."""
        local = self.batch_size // self.world
        start = step * self.batch_size + self.rank * local
        pieces, needed = [], local
        while needed > 0:
            epoch, at = divmod(start, len(self.rows))
            pieces.append(self.order(epoch)[at : at + needed])
            start, needed = start + len(pieces[-1]), needed - len(pieces[-1])
        return np.concatenate(pieces)

    def _share(self, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """Return this rank's part of a batch, and how many of its rows are not repeated."""
        local = -(-len(rows) // self.world)
        padded = np.concatenate([rows, np.repeat(rows[-1:], local * self.world - len(rows))])
        start = self.rank * local
        return padded[start : start + local], min(local, max(0, len(rows) - start))

    def _gather(self, rows: np.ndarray, crop: bool = False) -> Batch:
        index = torch.from_numpy(rows)
        pin = self.device.type == "cuda"
        inputs: dict[str, Input] = {}
        for name, column in self.columns.items():
            stored = column.gather(index, pin)
            kept = length_groups.cropped(stored) if crop else stored
            parts = {part: self._to_device(tensor) for part, tensor in kept.items()}
            inputs[name] = parts[""] if list(parts) == [""] else parts
        return Batch(
            inputs=inputs,
            present={name: self._small(column.present[index]) for name, column in self.columns.items()},
            targets={name: self._small(values[index]) for name, values in self.targets.items()},
            index=self._small(index),
        )

    def _small(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _to_device(self, stored: Tensor) -> Tensor:
        """Move in the small stored type, then make what models read: integers that stand for levels become floats."""
        tensor = stored.to(self.device, non_blocking=True)
        if tensor.dtype in SCALE:
            return tensor.float().div_(SCALE[tensor.dtype])
        return tensor.long() if tensor.dtype == torch.int32 else tensor


def hide(values: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """Return targets with those of the given rows made unknown; the given ones stay as they are."""
    if rows is None or len(rows) == 0:
        return values
    hidden = values.copy()
    hidden[rows] = IGNORE_INDEX if np.issubdtype(values.dtype, np.integer) else np.nan
    return hidden
