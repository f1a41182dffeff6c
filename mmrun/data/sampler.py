"""Chooses the rows of each batch: a function of seed and step alone, so that nothing has to be saved to resume."""

import zlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mmrun.data import length_groups


class RowStream(Protocol):
    """An endless order of rows, whose batches are cut from one after the other."""

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at some positions of the stream.

        Args:
            positions: from 0, ascending [n].

        Returns:
            Row numbers [n].
        """
        ...


class Permutations:
    """One permutation of the rows per epoch, all concatenated.

    Args:
        rows: row numbers [n].
        seed: of the permutations.
        name: of the random stream.
        lengths: of the texts of each row of the data set [N]; rows of similar length share batches. None: batches are
            random.
        batch_size: of the batches in which lengths should be similar.
    """

    def __init__(
        self,
        rows: np.ndarray,
        seed: int,
        name: str = "order",
        lengths: np.ndarray | None = None,
        batch_size: int = 1,
    ) -> None:
        self.rows, self.lengths, self.batch_size = rows, lengths, batch_size
        self.seeds = [zlib.crc32(name.encode()), seed]
        self._permutations: dict[int, np.ndarray] = {}  # by epoch; the last two

    def permute_rows(self, epoch: int) -> np.ndarray:
        """Return the rows in the order of an epoch.

        Args:
            epoch: from 0.

        Returns:
            [n] int64.
        """
        if epoch not in self._permutations:
            rng = np.random.default_rng([*self.seeds, epoch])
            order = self.rows[rng.permutation(len(self.rows))]
            if self.lengths is not None:
                start = epoch * len(order)
                order = length_groups.bucket_by_length(order, self.lengths[order], start, self.batch_size, rng)
            previous = {e: rows for e, rows in self._permutations.items() if e == epoch - 1}
            self._permutations = {**previous, epoch: order}
        return self._permutations[epoch]

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at some positions; see `RowStream.take`."""
        if len(positions) and positions[0] // len(self.rows) == positions[-1] // len(self.rows):  # nearly always
            epoch = int(positions[0]) // len(self.rows)
            inside: np.ndarray = self.permute_rows(epoch)[positions - epoch * len(self.rows)]
            return inside
        epochs, places = np.divmod(positions, len(self.rows))
        rows = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            in_epoch = epochs == epoch
            rows[in_epoch] = self.permute_rows(int(epoch))[places[in_epoch]]
        return rows


class Alternation:
    """Rows of several streams in turn, as many of each: with a stream per class, batches are balanced.

    Args:
        streams: one at least.
    """

    def __init__(self, streams: Sequence[RowStream]) -> None:
        self.streams = list(streams)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at some positions; see `RowStream.take`."""
        turns, numbers = np.divmod(positions, len(self.streams))
        rows = np.empty(len(positions), dtype=np.int64)
        for number, stream in enumerate(self.streams):
            rows[numbers == number] = stream.take(turns[numbers == number])
        return rows


class Mixture:
    """Rows of two streams, evenly mixed: any part of the mixture has the given share of the first one, up to a row.

    Args:
        first: a stream.
        second: another one.
        share: of rows from the first, above 0 and below 1.
    """

    def __init__(self, first: RowStream, second: RowStream, share: float) -> None:
        self.first, self.second, self.share = first, second, share

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return the rows at some positions; see `RowStream.take`."""
        num_first = np.floor(positions * self.share).astype(np.int64)  # before each position
        is_first = np.floor((positions + 1) * self.share).astype(np.int64) > num_first
        rows = np.empty(len(positions), dtype=np.int64)
        rows[is_first] = self.first.take(num_first[is_first])
        rows[~is_first] = self.second.take((positions - num_first)[~is_first])
        return rows


class RowSampler:
    """Samples training batches of one size from a stream of rows.

    Batch `step` is the positions step * batch_size and on of the stream.

    Args:
        stream: the rows in order.
        batch_size: rows per batch of all ranks together.
        rank: of this process.
        world: number of processes; it divides `batch_size`.
    """

    def __init__(self, stream: RowStream, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.stream, self.batch_size = stream, batch_size
        self.rank, self.world = rank, world

    def sample_batch(self, step: int) -> np.ndarray:
        """Return this rank's rows of a training batch.

        Args:
            step: optimiser step, from 0.

        Returns:
            [batch_size / world] int64.
        """
        share = self.batch_size // self.world
        start = step * self.batch_size + self.rank * share
        return self.stream.take(np.arange(start, start + share))


def balance_classes(rows: np.ndarray, classes: np.ndarray, seed: int) -> Alternation:
    """Return a stream with as many rows of each class; those of rare classes come more often.

    Args:
        rows: row numbers [n].
        classes: of each of them [n]; rows without a class are one class of their own.
        seed: of the order within each class.
    """
    streams = [Permutations(rows[classes == number], seed, f"order/{number}") for number in np.unique(classes)]
    return Alternation(streams)


def shard_batch(rows: np.ndarray, rank: int, world: int) -> tuple[np.ndarray, int]:
    """Return one rank's rows of an evaluation batch; the last row is repeated where ranks do not divide the batch.

    Args:
        rows: of all ranks together [B].
        rank: of this process.
        world: number of processes.

    Returns:
        [ceil(B / world)] row numbers, and how many of them, from the start, are not repeated.
    """
    share = -(-len(rows) // world)
    padded = np.concatenate([rows, np.repeat(rows[-1:], share * world - len(rows))])
    start = rank * share
    return padded[start : start + share], min(share, max(0, len(rows) - start))
