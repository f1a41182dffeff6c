"""Which rows are for training, which for choosing and which for the last word; and which of them are labelled."""

import hashlib
import zlib

import numpy as np

from mmrun.data.table import CLASSES, SPLITS, Table, Target
from mmrun.errors import ConfigError, DataError

PATTERN = ("val", "test", *["train"] * 8)  # of ten rows: 80/10/10
NUM_BINS = 10  # quantiles that numbers are stratified by


def make_split(
    num_rows: int, seed: int, strata: np.ndarray | None = None, groups: np.ndarray | None = None
) -> np.ndarray:  # [N] str
    """Return a split for each row, 80/10/10: equal in each stratum, and the same for all rows of a group."""
    rng = np.random.default_rng([zlib.crc32(b"split"), seed])
    strata = np.zeros(num_rows, dtype=np.int64) if strata is None else strata
    return _by_row(strata, rng) if groups is None else _by_group(strata, groups, rng)


def _by_row(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    num_rows = len(strata)
    if num_rows < 3:
        raise DataError(f"{num_rows} rows cannot be split in three; give more rows")
    by_stratum = np.lexsort((rng.random(num_rows), strata))  # rows of a stratum together, in random order
    tens = -(-num_rows // 10)
    if num_rows < 10:
        drawn = rng.permutation(np.array(PATTERN[:num_rows]))
    else:
        drawn = rng.permuted(np.tile(PATTERN, (tens, 1)), axis=1).ravel()[:num_rows]
    split = np.empty(num_rows, dtype="<U5")
    split[by_stratum] = drawn
    return split


def _by_group(strata: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place the largest groups first, each where it brings the strata's counts nearest to 80/10/10."""
    _, group = np.unique(groups, return_inverse=True)
    classes, stratum = np.unique(strata, return_inverse=True)
    counts = np.zeros((group.max() + 1, len(classes)))  # [groups, strata]
    np.add.at(counts, (group, stratum), 1)
    if len(counts) < 3:
        raise DataError(f"{len(counts)} groups cannot be split in three; give more groups, or no group column")
    lacking = np.outer((0.8, 0.1, 0.1), counts.sum(axis=0))  # [3, strata]
    place = np.full(len(counts), -1)
    by_size = np.lexsort((rng.random(len(counts)), -counts.sum(axis=1)))
    filled: set[int] = set()
    for left, g in zip(range(len(by_size), 0, -1), by_size, strict=True):
        empty = [s for s in range(3) if s not in filled]
        place[g] = empty[0] if left <= len(empty) else (lacking * counts[g]).sum(axis=1).argmax()
        filled.add(int(place[g]))
        lacking[place[g]] -= counts[g]
    return np.array(SPLITS)[place[group]]


def strata(target: Target) -> np.ndarray:  # [N] int64
    """Return the strata of the rows: the class, or the quantile of the (first) number; None for label sets."""
    if target.task in CLASSES:
        return target.values
    if target.task == "multilabel":
        return np.zeros(len(target.values), dtype=np.int64)
    numbers = target.values if target.values.ndim == 1 else target.values[:, 0]
    edges = np.nanquantile(numbers, np.linspace(0, 1, NUM_BINS + 1)[1:-1])
    return np.searchsorted(edges, numbers, side="right").astype(np.int64)


def known(target: Target) -> np.ndarray:  # [N] bool
    """Return which rows' target is given."""
    if target.task in CLASSES:
        return target.values >= 0
    missing = np.isnan(target.values)
    return ~(missing if missing.ndim == 1 else missing.all(axis=1))


def labelled_rows(
    table: Table, share: float, seed: int, shots: int | None = None
) -> np.ndarray:  # [n] int64, ascending
    """Choose the training rows whose target may be seen: of each class the same share and at least one row, or `shots`.

    For one seed the rows of a smaller share, or of fewer shots, are among those of a larger one.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"dataset.labelled: {share} is no share of the training rows; it is above 0 and at most 1")
    rows = table.rows("train")
    rows = rows[np.any([known(target)[rows] for target in table.targets.values()], axis=0)]
    by_row = strata(next(iter(table.targets.values())))[rows]
    rng = np.random.default_rng([zlib.crc32(b"labelled"), seed])
    if len(rows) == 0:
        raise DataError("no training row has a target; give some, or check the name of the target column")
    order = rng.permutation(len(rows))
    rows, by_row = rows[order], by_row[order]
    members = [rows[by_row == stratum] for stratum in np.unique(by_row)]
    counts = [max(1, round(share * len(m))) if shots is None else shots for m in members]
    return np.sort(np.concatenate([m[:count] for m, count in zip(members, counts, strict=True)]))


def bootstrap_rows(rows: np.ndarray, seed: int) -> np.ndarray:  # [n] int64, ascending, with repetitions
    """Draw as many rows as there are, with replacement (bagging: Breiman, 1996)."""
    rng = np.random.default_rng([zlib.crc32(b"bootstrap"), seed])
    return np.sort(rng.choice(rows, len(rows)))


def fingerprint(split: np.ndarray) -> str:
    """Return a hash of which row stands in which split."""
    return hashlib.sha256("\n".join(split.tolist()).encode()).hexdigest()
