"""Chooses the rows of each batch: a function of seed and step alone, so that nothing has to be saved to resume."""

import zlib

import numpy as np

from mmrun.data import length_groups


class RowSampler:
    """Samples training batches from one permutation of the rows per epoch, all concatenated to one stream.

    Batch `step` is the positions step * batch_size and on of the stream, so that all batches have the same size.

    Args:
        rows: row numbers [n].
        batch_size: rows per batch of all ranks together.
        seed: of the permutations.
        rank: of this process.
        world: number of processes; it divides `batch_size`.
        lengths: of the texts of each row of the data set [N]; rows of similar length share batches. None: batches are
            random.
    """

    def __init__(
        self, rows: np.ndarray, batch_size: int, seed: int, rank: int, world: int, lengths: np.ndarray | None
    ) -> None:
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.rank, self.world = rank, world
        self.lengths = lengths
        self._permutations: dict[int, np.ndarray] = {}  # by epoch; the last two

    def permute_rows(self, epoch: int) -> np.ndarray:
        """Return the rows in the order of an epoch.

        Args:
            epoch: from 0.

        Returns:
            [n] int64.
        """
        if epoch not in self._permutations:
            rng = np.random.default_rng([zlib.crc32(b"order"), self.seed, epoch])
            order = self.rows[rng.permutation(len(self.rows))]
            if self.lengths is not None:
                start = epoch * len(order)
                order = length_groups.bucket_by_length(order, self.lengths[order], start, self.batch_size, rng)
            previous = {e: rows for e, rows in self._permutations.items() if e == epoch - 1}
            self._permutations = {**previous, epoch: order}
        return self._permutations[epoch]

    def sample_batch(self, step: int) -> np.ndarray:
        """Return this rank's rows of a training batch.

        Args:
            step: optimiser step, from 0.

        Returns:
            [batch_size / world] int64.
        """
        share = self.batch_size // self.world
        start = step * self.batch_size + self.rank * share
        pieces, num_missing = [], share
        while num_missing > 0:
            epoch, position = divmod(start, len(self.rows))
            piece = self.permute_rows(epoch)[position : position + num_missing]
            pieces.append(piece)
            start, num_missing = start + len(piece), num_missing - len(piece)
        return np.concatenate(pieces)


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
