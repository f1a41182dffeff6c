"""Finds rows that repeat others: equal or nearly equal, within a split, across splits, or with another target."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from mmrun.data.checks.contents import combine
from mmrun.data.checks.finding import Finding, collect_rows, locate_rows
from mmrun.data.split import has_target
from mmrun.data.table import SPLITS, Table

MIN_DISTINCT = {"tabular": 0.9}  # share of rows that differ, from which equal ones are suspicious; else 0.5
MAX_USUAL = 2  # times as often as within the training rows may others share values with them
NOUNS = {"audio": "recording", "points": "point cloud", "tabular": "cells"}  # what a value of some kinds is called
CLEAN = "`mmrun data clean` leaves them out"


class Groups(NamedTuple):
    """Equal or similar rows of a data set, sorted by group.

    Attributes:
        order: numbers of the rows; in a group, those of test first, then val, then train, labelled ones first.
        leaders: for each of `order`, the first row of its group.
    """

    order: np.ndarray
    leaders: np.ndarray


def find_repeated_rows(
    table: Table, contents: Mapping[str, np.ndarray], clusters: Mapping[str, np.ndarray], notes: list[str]
) -> list[Finding]:
    """Find rows that equal or resemble others in all their modalities.

    Args:
        table: the data set.
        contents: number of each row's content by modality, -1 where it is missing.
        clusters: the same of groups of equal or similar contents.
        notes: what is left out is added to them.

    Returns:
        Of each group, all rows but one: leaks if another split holds the one that stays, else conflicts if their
        targets differ (then all are reported), else duplicates. Similar rows are near-duplicates.
    """
    num_rows = len(table.split)
    equal = combine(contents.values(), num_rows)
    kinds = {column.kind for column in table.columns.values()}
    limit = 0.0 if any(column.from_files for column in table.columns.values()) else _least_distinct(kinds)
    if _share_distinct(equal) < limit:
        notes.append(f"only {len(np.unique(equal)):,} of {num_rows:,} rows differ: equal ones are not reported")
        return []
    findings = _sort_repeated(table, _group_rows(table, equal))
    reported = collect_rows(findings)
    similar = combine(clusters.values(), num_rows)
    if _share_distinct(similar) < max(limit, 0.5):
        notes.append(
            f"only {len(np.unique(similar)):,} of {num_rows:,} rows differ much: near-duplicates are usual here"
        )
        return findings
    return [*findings, *_report_similar(table, _group_rows(table, similar), reported)]


def find_shared_values(
    table: Table, name: str, contents: np.ndarray, clusters: np.ndarray, reported: set[int]
) -> list[Finding]:
    """Find rows whose value of one modality also occurs in a later split (train < val < test), equal or similar.

    Texts, series and cells are exempt where rows of one split share theirs as often: then it is in their nature.

    Args:
        table: the data set.
        name: of the modality.
        contents: number of each row's content [N], -1 where it is missing.
        clusters: the same of groups of equal or similar contents.
        reported: rows of which all modalities are known to repeat.
    """
    column = table.columns[name]
    findings: list[Finding] = []
    if column.from_files or not _is_usual(table, column.kind, contents):
        message = f"{name}: the same {NOUNS.get(column.kind, column.kind)} as in a row of val or test"
        findings += _report_shared(table, name, contents, reported, Shared("shared", message, "equals"))
    is_similar = _share_distinct(clusters[table.rows("train")]) >= _least_distinct({column.kind})
    if is_similar and (column.from_files or not _is_usual(table, column.kind, clusters)):
        known = reported | collect_rows(findings)
        message = f"{name}: nearly the same {NOUNS.get(column.kind, column.kind)} as in a row of val or test"
        findings += _report_shared(table, name, clusters, known, Shared("near-shared", message, "resembles"))
    return findings


class Shared(NamedTuple):
    """How rows that share a value with a later split are reported.

    Attributes:
        kind: of the finding.
        message: of the finding.
        relation: of such a row to one of a later split.
    """

    kind: str
    message: str
    relation: str


def _report_shared(
    table: Table, name: str, numbers: np.ndarray, reported: set[int], shared: Shared
) -> Iterator[Finding]:
    """Report rows that have the number of a row of a later split, if they are not reported yet."""
    pairs = []
    for row, leader in _list_pairs(_group_rows(table, numbers), reported):
        if table.split[row] != table.split[leader] and numbers[row] >= 0:
            pairs.append((row, leader))
    if pairs:
        rows = [row for row, _ in pairs]
        places = locate_rows(table, [leader for _, leader in pairs])
        where = [
            f"{table.columns[name].locate(row)} {shared.relation} {place}"
            for row, place in zip(rows, places, strict=True)
        ]
        remedy = f"keep rows of one source in one split: group=COLUMN; or `mmrun data clean --drop {shared.kind}`"
        yield Finding(shared.kind, shared.message, remedy, rows=rows, where=where)


def _is_usual(table: Table, kind: str, numbers: np.ndarray) -> bool:
    """Return whether training rows share values among themselves as often as others share them with training."""
    train = numbers[table.rows("train")]
    train = train[train >= 0]
    others = numbers[(table.split != "train") & (numbers >= 0)]
    if len(train) == 0 or len(others) == 0 or _share_distinct(train) < _least_distinct({kind}):
        return True
    counts = np.bincount(train, minlength=int(numbers.max()) + 1)
    repeated, shared = (counts[train] > 1).mean(), (counts[others] > 0).mean()
    return bool(repeated > 0 and shared <= MAX_USUAL * repeated)


def _sort_repeated(table: Table, groups: Groups) -> list[Finding]:
    targets = _number_targets(table)
    leaks: list[int] = []
    duplicates: list[int] = []
    conflicts: set[int] = set()
    for row, leader in zip(groups.order.tolist(), groups.leaders.tolist(), strict=True):
        if row == leader:
            continue
        if table.split[row] != table.split[leader]:
            leaks.append(row)
        elif targets[row] in (-1, targets[leader]):
            duplicates.append(row)
        else:
            conflicts.update((row, leader))
    messages = {
        "leaks": (leaks, "rows that equal one of val or test, or of val one of test", CLEAN),
        "duplicates": (duplicates, "rows that equal another one of their split", CLEAN),
        "conflicts": (sorted(conflicts), "equal rows with different targets", "correct one of them"),
    }
    findings = []
    for kind, (rows, message, remedy) in messages.items():
        if rows:
            rows = sorted(rows)
            where = locate_rows(table, rows)
            findings.append(Finding(kind, message, remedy, rows=rows, where=where))
    return findings


def _report_similar(table: Table, groups: Groups, reported: set[int]) -> list[Finding]:
    pairs = _list_pairs(groups, reported)
    if not pairs:
        return []
    rows = [row for row, _ in pairs]
    num_crossing = sum(bool(table.split[row] != table.split[leader]) for row, leader in pairs)
    names = locate_rows(table, rows)
    others = locate_rows(table, [leader for _, leader in pairs])
    where = [f"{name} resembles {other}" for name, other in zip(names, others, strict=True)]
    message = f"rows that resemble another one, {num_crossing} of them one of another split"
    remedy = "look at them; `mmrun data clean --drop near-duplicates`"
    return [Finding("near-duplicates", message, remedy, rows=rows, where=where)]


def _list_pairs(groups: Groups, reported: set[int]) -> list[tuple[int, int]]:
    """Return the rows that repeat the first one of their group, with that one, if they are not reported yet."""
    pairs = zip(groups.order.tolist(), groups.leaders.tolist(), strict=True)
    return sorted((row, leader) for row, leader in pairs if row != leader and row not in reported)


def _group_rows(table: Table, numbers: np.ndarray) -> Groups:
    """Sort the rows by their numbers; groups of a single row are left out."""
    priority = np.zeros(len(numbers), dtype=np.int64)
    for place, split in enumerate(reversed(SPLITS)):
        priority[table.split == split] = place
    is_hidden = ~np.all([has_target(target) for target in table.targets.values()], axis=0)
    order = np.lexsort((is_hidden, priority, numbers))  # stable: earlier rows first
    sorted_numbers = numbers[order]
    is_first = np.append(True, sorted_numbers[1:] != sorted_numbers[:-1])
    group = np.cumsum(is_first) - 1
    leaders = order[np.flatnonzero(is_first)][group]
    is_repeated = np.bincount(group)[group] > 1
    return Groups(order[is_repeated], leaders[is_repeated])


def _number_targets(table: Table) -> np.ndarray:
    """Return a number of each row's targets [N], -1 where all are hidden."""
    numbers = []
    for target in table.targets.values():
        values = target.values.reshape(len(target.values), -1)
        columns = [np.unique(np.nan_to_num(column, nan=-1e30), return_inverse=True)[1] for column in values.T]
        numbers.append(combine(columns, len(values)))
    is_known = np.any([has_target(target) for target in table.targets.values()], axis=0)
    return np.where(is_known, combine(numbers, len(table.split)), -1)


def _share_distinct(numbers: np.ndarray) -> float:
    """Return the share of different numbers among those that are not -1; 1 if there is none."""
    present = numbers[numbers >= 0]
    return np.count_nonzero(np.bincount(present)) / len(present) if len(present) else 1.0


def _least_distinct(kinds: set[str]) -> float:
    """Return the share of rows that has to differ, so that equal ones are suspicious."""
    return min((MIN_DISTINCT.get(kind, 0.5) for kind in kinds), default=0.5)
