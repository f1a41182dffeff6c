"""Divides rows into train, val and test, and chooses which training rows are labelled."""

import hashlib
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmrun.data.names import shorten
from mmrun.data.partition import partition_groups, partition_rows
from mmrun.data.table import CLASSES, SPLITS, Table, Target
from mmrun.errors import ConfigError, DataError

PATTERN = np.array([1, 2, *[0] * 8], dtype=np.int8)  # places in SPLITS of ten rows: 80/10/10
SHARES = (0.8, 0.1, 0.1)  # of SPLITS
MIN_TRAINING_ROWS = 10  # from which rows are drawn for a split that a file lacks
NUM_BINS = 10  # quantiles into which numbers are stratified


def make_split(
    num_rows: int, seed: int, strata: np.ndarray | None = None, groups: np.ndarray | None = None
) -> np.ndarray:
    """Split rows 80/10/10 at random.

    Args:
        num_rows: N, at least 3.
        seed: of the draw.
        strata: [N]; each stratum is split in the same proportions; or [N, C] bool label sets, of which each label is.
            None: there is one stratum.
        groups: [N]; all rows of a group get the same split, so that proportions are met only approximately. None: each
            row is drawn independently.

    Returns:
        [N] str, each one of SPLITS.

    Raises:
        DataError: there are fewer than three rows or groups.
    """
    strata = np.zeros(num_rows, dtype=np.int64) if strata is None else strata
    if strata.ndim == 2:
        return _split_label_sets(strata, groups, seed)
    rng = np.random.default_rng([zlib.crc32(b"split"), seed])
    return _split_rows(strata, rng) if groups is None else _split_groups(strata, groups, rng)


def _split_label_sets(labels: np.ndarray, groups: np.ndarray | None, seed: int) -> np.ndarray:
    if groups is None:
        parts = partition_rows(SHARES, labels, seed)
    else:
        parts = partition_groups(SHARES, labels, groups, seed)
    split: np.ndarray = np.array(SPLITS)[parts]
    return split


def _split_rows(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    num_rows = len(strata)
    if num_rows < 3:
        raise DataError(f"{num_rows} rows cannot be split into train, val and test; at least 3 are needed")
    by_stratum = np.lexsort((rng.random(num_rows), strata))  # rows of a stratum together, in random order
    num_tens = -(-num_rows // 10)
    if num_rows < 10:
        drawn = rng.permutation(PATTERN[:num_rows])
    else:
        drawn = rng.permuted(np.tile(PATTERN, (num_tens, 1)), axis=1).ravel()[:num_rows]
    split: np.ndarray = np.array(SPLITS)[drawn[by_stratum.argsort()]]
    return split


def _split_groups(strata: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place the largest groups first, each where it brings the strata's counts closest to 80/10/10."""
    _, group = np.unique(groups, return_inverse=True)
    classes, stratum = np.unique(strata, return_inverse=True)
    counts = np.zeros((group.max() + 1, len(classes)))  # [groups, strata]
    np.add.at(counts, (group, stratum), 1)
    if len(counts) < 3:
        raise DataError(
            f"{len(counts)} groups cannot be split into train, val and test; at least 3 are needed, or no group column"
        )
    lacking = np.outer(SHARES, counts.sum(axis=0))  # [3, strata], rows that a split still needs
    place = np.full(len(counts), -1)
    by_size = np.lexsort((rng.random(len(counts)), -counts.sum(axis=1)))
    filled: set[int] = set()
    for num_left, g in zip(range(len(by_size), 0, -1), by_size, strict=True):
        empty = [s for s in range(3) if s not in filled]
        place[g] = empty[0] if num_left <= len(empty) else (lacking * counts[g]).sum(axis=1).argmax()
        filled.add(int(place[g]))
        lacking[place[g]] -= counts[g]
    split: np.ndarray = np.array(SPLITS)[place[group]]
    return split


def resolve_split(
    name: str,
    split: np.ndarray | None,
    targets: Mapping[str, Target],
    groups: np.ndarray | None,
    seed: int,
    notes: list[str],
) -> np.ndarray:
    """Return the split of each row, [N] str: that of the file, or a new one in which rows without a target are train.

    No group is in two splits. What the file's split lacks is drawn from its training rows, with a note.

    Args:
        name: of the file.
        split: that it gives; None: it gives none.
        targets: by name.
        groups: of the rows; None: they are independent.
        seed: of the draw.
        notes: what is drawn is added to them.

    Raises:
        DataError: a group is in two splits, or there are too few rows.
    """
    if split is not None:
        if groups is not None:
            _check_groups(name, split, groups)
        return _complete_split(split, targets, groups, seed, notes)
    labelled = np.all([has_target(target) for target in targets.values()], axis=0)
    if groups is not None and not labelled.all():
        raise DataError(
            f"{name}: {(~labelled).sum()} rows have no target, and dataset.group is set; add a split column as well"
        )
    split = np.full(len(labelled), "train", dtype="<U5")
    strata = compute_split_labels(next(iter(targets.values())))[labelled]
    try:
        split[labelled] = make_split(len(strata), seed, strata, groups)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    return split


def _complete_split(
    split: np.ndarray, targets: Mapping[str, Target], groups: np.ndarray | None, seed: int, notes: list[str]
) -> np.ndarray:
    """Return a split in which val and test have rows; a tenth of the training rows is moved to one that has none."""
    labelled = np.all([has_target(target) for target in targets.values()], axis=0)
    train = np.flatnonzero((split == "train") & labelled)
    lacking = [part for part in ("val", "test") if not (split == part).any()]
    if not lacking or len(train) < MIN_TRAINING_ROWS:
        return split
    strata = compute_split_labels(next(iter(targets.values())))[train]
    drawn = make_split(len(train), seed, strata, None if groups is None else groups[train])
    completed = split.copy()
    for part in lacking:
        rows = train[drawn == part]
        completed[rows] = part
        notes.append(f"no row is in {part}: {len(rows)} of the training rows are drawn for it (dataset.split_seed)")
    return completed


def _check_groups(name: str, split: np.ndarray, groups: np.ndarray) -> None:
    """Raise an error if a group is in two splits."""
    names, group = np.unique(groups, return_inverse=True)
    parts, part = np.unique(split, return_inverse=True)
    group_of_pair, part_of_pair = np.divmod(np.unique(group * len(parts) + part), len(parts))
    torn = np.flatnonzero(np.diff(group_of_pair) == 0)
    if len(torn):
        first, second = parts[part_of_pair[torn[0] : torn[0] + 2]]
        label = shorten(str(names[group_of_pair[torn[0]]]))
        raise DataError(f"{name}: group '{label}' is in {first} and in {second}; keep the rows of a group in one split")


def compute_split_labels(target: Target) -> np.ndarray:
    """Return by what the rows are divided in the same proportions.

    Args:
        target: of the rows.

    Returns:
        [N] int64 strata; of label sets [N, C] bool.
    """
    return target.values == 1 if target.task == "multilabel" else compute_strata(target)


def compute_strata(target: Target) -> np.ndarray:
    """Return the stratum of each row: its class, or the quantile bin of its (first) number.

    Args:
        target: of the rows. Label sets are not stratified: all rows are in stratum 0.

    Returns:
        [N] int64.
    """
    if target.task in CLASSES:
        return target.values
    if target.task == "multilabel":
        return np.zeros(len(target.values), dtype=np.int64)
    numbers = target.values if target.values.ndim == 1 else target.values[:, 0]
    edges = np.nanquantile(numbers, np.linspace(0, 1, NUM_BINS + 1)[1:-1])
    strata: np.ndarray = np.searchsorted(edges, numbers, side="right").astype(np.int64)
    return strata


def has_target(target: Target) -> np.ndarray:
    """Return which rows have a class or at least one label or number.

    Args:
        target: of the rows.

    Returns:
        [N] bool.
    """
    if target.task in CLASSES:
        has_class: np.ndarray = target.values >= 0
        return has_class
    has_values = ~np.isnan(target.values)
    has_any: np.ndarray = has_values if has_values.ndim == 1 else has_values.any(axis=1)
    return has_any


def count_labels(target: Target, parts: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Count the rows of each class or label.

    Args:
        target: no numbers.
        parts: [N] str, name of each row's part.
        names: of the parts, such as SPLITS.

    Returns:
        [C] int64 by name of the part.
    """
    counts = {}
    for name in names:
        values = target.values[parts == name]
        if target.task == "multilabel":
            counts[name] = (values == 1).sum(axis=0)
        else:
            counts[name] = np.bincount(values[values >= 0], minlength=len(target.names))
    return counts


def choose_labelled_rows(table: Table, share: float, seed: int, shots: int | None = None) -> np.ndarray:
    """Choose the training rows whose target may be seen, stratified by the first target.

    With one seed, the rows of a smaller share or of fewer shots are among those of a larger one.

    Args:
        table: the data set.
        share: of each stratum, above 0 and at most 1; at least one row of each is chosen.
        seed: of the draw.
        shots: rows per stratum, in place of the share.

    Returns:
        [n] int64, ascending.

    Raises:
        ConfigError: the share is out of range.
        DataError: no training row has a target.
    """
    if not 0 < share <= 1:
        raise ConfigError(
            f"dataset.labelled: {share} is not a share of the training rows; it must be above 0 and at most 1"
        )
    rows = table.rows("train")
    rows = rows[np.any([has_target(target)[rows] for target in table.targets.values()], axis=0)]
    strata = compute_strata(next(iter(table.targets.values())))[rows]
    if len(rows) == 0:
        raise DataError("no training row has a target; label some, or check the name of the target column")
    if share == 1 and shots is None:
        return rows
    rng = np.random.default_rng([zlib.crc32(b"labelled"), seed])
    order = rng.permutation(len(rows))
    rows, strata = rows[order], strata[order]
    chosen = []
    for stratum in np.unique(strata):
        members = rows[strata == stratum]
        count = max(1, round(share * len(members))) if shots is None else shots
        chosen.append(members[:count])
    return np.sort(np.concatenate(chosen))


def choose_held_out_rows(table: Table, rows: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose training rows that are never trained on, stratified by the first target; groups stay together.

    Args:
        table: the data set.
        rows: row numbers [n] to choose from; repeated ones count once.
        share: of the rows, or of the groups if the table has any. Each stratum keeps at least one.
        seed: of the draw.

    Returns:
        Ascending row numbers; none if there are too few rows.
    """
    rows = np.unique(rows)
    groups = rows if table.groups is None else table.groups[rows]
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    strata = compute_strata(next(iter(table.targets.values())))[rows][first]
    rng = np.random.default_rng([zlib.crc32(b"held out"), seed])
    position = np.full(len(first), np.inf)  # of each group in its stratum, 0..1; the last one is never chosen
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        position[members[:-1]] = (np.arange(len(members) - 1) + rng.random()) / len(members)
    chosen = np.argsort(position, kind="stable")[: round(share * len(first))]
    return rows[np.isin(group, chosen[np.isfinite(position[chosen])])]


def draw_bootstrap_rows(rows: np.ndarray, seed: int) -> np.ndarray:
    """Draw as many rows as there are, with replacement (bagging: Breiman, 1996).

    Args:
        rows: row numbers [n].
        seed: of the draw.

    Returns:
        [n], ascending, some of them repeated.
    """
    rng = np.random.default_rng([zlib.crc32(b"bootstrap"), seed])
    return np.sort(rng.choice(rows, len(rows)))


def hash_split(split: np.ndarray) -> str:
    """Return a hash of which row is in which split.

    Args:
        split: [N] str.
    """
    return hashlib.sha256("\n".join(split.tolist()).encode()).hexdigest()
