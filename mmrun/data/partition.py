"""Divides rows into parts of given shares, splits or folds: stratified, with whole groups, or in the order of time."""

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np

from mmrun.errors import DataError


def partition_rows(shares: Sequence[float], labels: np.ndarray, seed: int, train: int | None = None) -> np.ndarray:
    """Divide rows at random, each stratum or label in the same proportions.

    Args:
        shares: of the parts, above 0; they add up to 1.
        labels: [N] int64 strata, or [N, C] bool label sets, for which iterative stratification is used (Sechidis et
            al., 2011).
        seed: of the draw.
        train: a part of which every stratum of one row or more gets at least one, where that is possible; None: all
            parts are alike.

    Returns:
        [N] int64, the number of each row's part. The sizes of all parts are exact, and so are those of a stratum within
        about one row.

    Raises:
        DataError: there are fewer rows than parts.
    """
    rng = np.random.default_rng([zlib.crc32(b"partition"), seed])
    sizes = allocate(len(labels), shares)
    if labels.ndim == 2:
        return _stratify_label_sets(labels, shares, sizes, rng)
    _, strata = np.unique(labels, return_inverse=True)
    parts = _stratify(strata, sizes, rng)
    if train is not None:
        _spread_over_strata(parts, strata, train)
    return parts


def allocate(num_rows: int, shares: Sequence[float]) -> np.ndarray:
    """Return the number of rows of each part; each has at least one.

    Args:
        num_rows: N.
        shares: of the parts; they add up to 1.

    Returns:
        [parts] int64, whose sum is N.

    Raises:
        DataError: there are fewer rows than parts.
    """
    if num_rows < len(shares):
        raise DataError(f"{num_rows} rows cannot be divided into {len(shares)} parts; each needs at least one")
    exact = np.array(shares) * num_rows
    sizes = np.floor(exact + 1e-9).astype(np.int64)
    by_remainder = np.argsort(sizes - exact, kind="stable")
    sizes[by_remainder[: num_rows - sizes.sum()]] += 1
    while sizes.min() == 0:
        sizes[sizes.argmin()] += 1
        sizes[sizes.argmax()] -= 1
    return sizes


def _stratify(strata: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Deal the rows, those of a stratum together and in random order, to parts that are evenly interleaved."""
    order = rng.permutation(strata.max() + 1)  # so that no stratum is always where the interleaving is uneven
    rows = np.lexsort((rng.random(len(strata)), order[strata]))
    dealt = np.repeat(np.arange(len(sizes)), sizes)
    positions = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    parts = np.empty(len(strata), dtype=np.int64)
    parts[rows] = dealt[np.argsort(positions, kind="stable")]
    return parts


def _spread_over_strata(parts: np.ndarray, strata: np.ndarray, train: int) -> None:
    """Exchange rows in place until each stratum has one in the training part, as far as other strata can spare one."""
    counts = np.bincount(strata[parts == train], minlength=strata.max() + 1)
    first_rows = np.unique(strata, return_index=True)[1]
    candidates = np.flatnonzero(parts == train)
    donors = iter(candidates[np.argsort(-counts[strata[candidates]], kind="stable")].tolist())
    for stratum in np.flatnonzero(counts == 0).tolist():
        donor = next((row for row in donors if counts[strata[row]] > 1), None)
        if donor is None:
            return
        row = first_rows[stratum]
        parts[donor], parts[row] = parts[row], train
        counts[strata[donor]] -= 1
        counts[stratum] = 1


def _stratify_label_sets(
    labels: np.ndarray, shares: Sequence[float], sizes: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Place the rows of the rarest label first, each in the part that needs this label most."""
    order = rng.permutation(len(labels))
    rows, columns = np.nonzero(labels[order])
    labels_of = _group_values(rows, columns, len(labels))
    rows_of = _group_values(columns, rows, labels.shape[1])
    need = [(share * labels.sum(axis=0)).tolist() for share in shares]  # [parts][C], rows that a part still lacks
    room = sizes.tolist()
    remaining = labels.sum(axis=0)
    places = [-1] * len(labels)  # by position in `order`

    def place(row: int, part: int) -> None:
        places[row] = part
        room[part] -= 1
        for label in labels_of[row]:
            need[part][label] -= 1
            remaining[label] -= 1

    while remaining.any():
        label = int(np.where(remaining > 0, remaining, len(labels) + 1).argmin())
        for row in rows_of[label]:
            if places[row] < 0:
                open_parts = [part for part, free in enumerate(room) if free > 0]
                place(row, max(open_parts, key=lambda part: (need[part][label], room[part])))
    parts = np.array(places)
    parts[parts < 0] = np.repeat(np.arange(len(room)), room)  # rows without a label, in random order
    result = np.empty_like(parts)
    result[order] = parts
    return result


def _group_values(keys: np.ndarray, values: np.ndarray, num_keys: int) -> list[list[int]]:
    """Return the values of each key."""
    by_key = np.argsort(keys, kind="stable")
    ends = np.cumsum(np.bincount(keys, minlength=num_keys)).tolist()
    ordered = values[by_key].tolist()
    return [ordered[start:end] for start, end in pairwise([0, *ends])]


def partition_groups(shares: Sequence[float], labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Divide rows so that all rows of a group are in one part, and each stratum or label about in the same proportions.

    The largest groups are placed first, each where its labels are needed most among the parts that have room for it,
    and of which it would not fill more than half, if there are such.
    Where every share is at least that of the largest group, each part has its size within the size of this group.

    Args:
        shares: of the parts, above 0; they add up to 1.
        labels: [N] int64 strata, or [N, C] bool label sets.
        groups: [N], names or numbers.
        seed: of the draw, which decides between groups of one size.

    Returns:
        [N] int64, the number of each row's part.

    Raises:
        DataError: there are fewer groups than parts.
    """
    rng = np.random.default_rng([zlib.crc32(b"partition"), seed])
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < len(shares):
        raise DataError(f"{len(names)} groups cannot be divided into {len(shares)} parts; each needs at least one")
    sizes = np.bincount(group)
    labels_of, weights_of = _weigh_labels(labels, group)
    num_labels = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    need = [[1.0] * num_labels for _ in shares]  # [parts][C], as shares of what is requested
    wish = [share * len(labels) for share in shares]
    room = list(wish)
    place = np.full(len(names), -1)
    empty = set(range(len(shares)))
    by_size = np.lexsort((rng.random(len(names)), -sizes)).tolist()
    for num_left, g in zip(range(len(by_size), 0, -1), by_size, strict=True):
        size = int(sizes[g])
        candidates = empty if num_left <= len(empty) else _find_candidates(size, room, wish)
        needs = {part: _dot(need[part], labels_of[g], weights_of[g]) for part in candidates}
        part = max(candidates, key=lambda part: (needs[part], room[part]))
        place[g] = part
        empty.discard(part)
        room[part] -= size
        for label, weight in zip(labels_of[g], weights_of[g], strict=True):
            need[part][label] -= weight / shares[part]
    return place[group]


def _find_candidates(size: int, room: Sequence[float], wish: Sequence[float]) -> list[int]:
    """Return the parts of which a group fills half at most; else those with room for it; else that with most room."""
    fitting = [part for part, rows in enumerate(room) if rows >= size]
    small = [part for part in fitting if 2 * size <= wish[part]]
    return small or fitting or [max(range(len(room)), key=room.__getitem__)]


def _weigh_labels(labels: np.ndarray, group: np.ndarray) -> tuple[list[list[int]], list[list[float]]]:
    """Return the labels in each group, and which share of all rows with the label these are."""
    rows, columns = np.nonzero(labels) if labels.ndim == 2 else (np.arange(len(labels)), labels)
    num_labels = int(columns.max(initial=0)) + 1
    pairs, counts = np.unique(group[rows] * num_labels + columns, return_counts=True)
    totals = np.bincount(columns, minlength=num_labels)
    groups_of_pairs, labels_of_pairs = np.divmod(pairs, num_labels)
    weights = counts / totals[labels_of_pairs]
    num_groups = int(group.max()) + 1
    weights_of = cast(list[list[float]], _group_values(groups_of_pairs, weights, num_groups))
    return _group_values(groups_of_pairs, labels_of_pairs, num_groups), weights_of


def _dot(need: Sequence[float], labels: Sequence[int], weights: Sequence[float]) -> float:
    return sum(need[label] * weight for label, weight in zip(labels, weights, strict=True))


def partition_by_time(shares: Sequence[float], times: np.ndarray) -> np.ndarray:
    """Divide rows so that each part is later than the one before it; rows of one time stay together.

    Args:
        shares: of the parts, the oldest first; they add up to 1.
        times: [N] numbers.

    Returns:
        [N] int64, the number of each row's part.

    Raises:
        DataError: there are fewer different times than parts.
    """
    different, counts = np.unique(times, return_counts=True)
    if len(different) < len(shares):
        raise DataError(
            f"{len(different)} different times cannot be divided into {len(shares)} parts; each needs at least one"
        )
    num_rows_until = np.cumsum(counts)
    first_of = [0]  # number of the first time of each part
    for part, goal in enumerate(np.cumsum(shares)[:-1] * len(times), start=1):
        earliest, latest = first_of[-1] + 1, len(different) - len(shares) + part
        distances = np.abs(num_rows_until[earliest - 1 : latest] - goal)
        first_of.append(earliest + int(distances.argmin()))
    return np.searchsorted(different[first_of], times, side="right") - 1
