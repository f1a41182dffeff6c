"""Divides the rows of a user's file into splits or folds, and says what of the request could not be kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmrun.data import cells, infer
from mmrun.data.folds import MIN_FOLDS
from mmrun.data.labels import encode_target
from mmrun.data.names import collect_names, normalize_name, shorten
from mmrun.data.partition import partition_by_time, partition_groups, partition_rows
from mmrun.data.schema import Layout, Names, list_classes, list_targets, resolve_schema
from mmrun.data.sheets.numbers import as_number
from mmrun.data.sheets.readings import apply_readings, infer_readings, select_readings
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.sheets.table_files import read_sheet
from mmrun.data.sources.manifest import read_labels
from mmrun.data.split import choose_labelled_rows, compute_split_labels, count_labels, has_target
from mmrun.data.table import SPLITS, Table, Target
from mmrun.errors import ConfigError, DataError

TOLERANCE = 0.1  # relative difference between a part's size and the request, from which it is a note
MAX_CLASSES_NAMED = 10  # in notes
ALWAYS_TRAIN = ""  # in place of the fold of a row without a target


@dataclass(frozen=True)
class Request:
    """How rows are to be divided.

    Attributes:
        val: share of the rows for validation; 0: none.
        test: share of the rows for testing; 0: none.
        folds: their number, in place of the shares; None: there are no folds.
        group: column whose rows stay together; None: rows are independent.
        time: column by which the oldest rows are for training and the newest for testing; None: rows are drawn.
        labelled: shares of the training rows whose targets are to be seen.
        seed: of the draw.
    """

    val: float = 0.1
    test: float = 0.1
    folds: int | None = None
    group: str | None = None
    time: str | None = None
    labelled: Sequence[float] = ()
    seed: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """The share of the rows by name of the part: a split, or the number of a fold."""
        if self.folds is not None:
            return {str(fold): 1 / self.folds for fold in range(self.folds)}
        shares = zip(SPLITS, (1 - self.val - self.test, self.val, self.test), strict=True)
        return {name: share for name, share in shares if share > 0}


@dataclass(frozen=True)
class Division:
    """The rows of a file, divided.

    Attributes:
        sheet: the file.
        parts: [N] objects, name of each row's part; ALWAYS_TRAIN for a row that belongs to no fold.
        names: of the parts.
        targets: by name of the column.
        groups: [N]; None: rows are independent.
        labelled: smallest of the requested shares with which a row's target is seen, by row; None: with none of them.
        times: oldest and newest cell of each part by its name; empty: rows are not divided by time.
        notes: what could not be kept, and what is for training for want of a target; one line each.
    """

    sheet: Sheet
    parts: np.ndarray
    names: list[str]
    targets: dict[str, Target]
    groups: np.ndarray | None
    labelled: list[float | None] | None
    times: dict[str, tuple[object, object]]
    notes: list[str]


def divide_file(
    path: Path,
    request: Request,
    target: Names = "label",
    task: str | Mapping[str, str] | None = None,
    order: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    encoding: str | None = None,
    read: Mapping[str, str] | None = None,
) -> Division:
    """Divide the rows of a file by its first target, its groups or its times.

    Args:
        path: the file.
        request: what is asked for.
        target: this and the other arguments are those of `manifest`.

    Raises:
        ConfigError: a column does not exist.
        DataError: a row cannot be read, or the request cannot be met.
    """
    original = read_sheet(path, encoding=encoding)
    request = _spell_columns(original, request)
    targets = list_targets(target)
    sheet = _read_columns(original, targets, task, request, read)
    schema = resolve_schema(sheet, Layout({}, targets, None, request.group, None, {}), task, order)
    reader = cells.RowReader(sheet, "raise")
    labels = read_labels(reader, schema)
    encoded = {}
    for name, task_of_target in schema.tasks.items():
        encoded[name] = encode_target(task_of_target, labels[name], name, sheet.name, schema.orders[name])
    groups = None
    if request.group is not None:
        groups = collect_names(reader.read_column(request.group, normalize_name, required=True))
    times = None if request.time is None else _read_times(reader, request.time)

    notes: list[str] = []
    can_be_tested = _find_testable_rows(encoded, groups, notes, request)
    parts = _divide(sheet.name, next(iter(encoded.values())), can_be_tested, groups, times, request)
    labelled = None
    if request.labelled:
        table = Table(sheet.locate_rows(), {}, encoded, parts, "")
        labelled = _find_labelled_shares(table, request.labelled, request.seed)
    names = list(request.shares)
    notes += _describe_sizes(parts[can_be_tested], request)
    for name, encoded_target in encoded.items():
        notes += _describe_absent_classes(name, encoded_target, parts, names)
    oldest_and_newest = {} if times is None else _find_times(original, str(request.time), times, parts, names)
    return Division(sheet, parts, names, encoded, groups, labelled, oldest_and_newest, notes)


def _spell_columns(sheet: Sheet, request: Request) -> Request:
    """Return a request with the names of columns as the file spells them."""
    group, time = request.group, request.time
    return replace(
        request,
        group=None if group is None else infer.require_column(sheet, group, "--group"),
        time=None if time is None else infer.require_column(sheet, time, "--time"),
    )


def _read_columns(
    sheet: Sheet,
    targets: Sequence[str],
    task: str | Mapping[str, str] | None,
    request: Request,
    read: Mapping[str, str] | None,
) -> Sheet:
    """Read the targets and the time as numbers or dates where their cells are; all other columns stay as they are."""
    for name in targets:
        infer.require_column(sheet, name, "target")
    parsed = [*targets, *([] if request.time is None else [request.time])]
    raw = (sheet.columns.keys() - parsed) | list_classes(targets, task)
    readings = infer_readings(sheet.head(), read, raw)
    return apply_readings(sheet, select_readings(readings, parsed))


def _read_times(reader: cells.RowReader, column: str) -> np.ndarray:
    """Return the time of each row as a number, [N] float64."""
    return np.array(list(reader.read_column(column, _parse_time, required=True)), dtype=np.float64)


def _parse_time(cell: object) -> float:
    time = as_number(cell)
    if time is None or np.isnan(time):
        raise DataError(f"{str(cell)[:40]!r} is neither a date nor a number; correct it, or name another with --time")
    return time


def _find_testable_rows(
    targets: Mapping[str, Target], groups: np.ndarray | None, notes: list[str], request: Request
) -> np.ndarray:
    """Return which rows may be in any part, [N] bool: they have all targets, as have the others of their group."""
    has_all: np.ndarray = np.all([has_target(target) for target in targets.values()], axis=0)
    if has_all.all():
        return has_all
    can_be_tested: np.ndarray = has_all if groups is None else ~np.isin(groups, groups[~has_all])
    if not can_be_tested.any():
        raise DataError("every group has a row without a target, which cannot be tested; remove these rows first")
    place = "in no fold, so always for training" if request.folds is not None else "in train"
    others = int((has_all & ~can_be_tested).sum())
    with_groups = f", and {others} more of their groups" if others else ""
    notes.append(f"rows without a target are {place}: {(~has_all).sum()}{with_groups}")
    return can_be_tested


def _divide(
    file: str,
    target: Target,
    can_be_tested: np.ndarray,
    groups: np.ndarray | None,
    times: np.ndarray | None,
    request: Request,
) -> np.ndarray:
    """Return the name of each row's part, [N] objects: rows share a few strings, of which there would be millions."""
    names, shares = list(request.shares), list(request.shares.values())
    labels = compute_split_labels(target)
    labels = labels[can_be_tested]
    try:
        if times is not None:
            numbers = partition_by_time(shares, times)
        elif groups is not None:
            numbers = partition_groups(shares, labels, groups[can_be_tested], request.seed)
        else:
            train = None if request.folds is not None else 0
            numbers = partition_rows(shares, labels, request.seed, train)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    if times is not None:
        parts: np.ndarray = np.array(names, dtype=object)[numbers]
        num_hidden = int((~can_be_tested & (parts != "train")).sum())
        if num_hidden:
            raise DataError(
                f"{file}: {num_hidden} rows of the val and test times have no target, and cannot be tested; "
                "remove them first"
            )
        return parts
    parts = np.full(len(can_be_tested), ALWAYS_TRAIN if request.folds is not None else "train", dtype=object)
    parts[can_be_tested] = np.array(names, dtype=object)[numbers]
    return parts


def _find_labelled_shares(table: Table, shares: Sequence[float], seed: int) -> list[float | None]:
    """Return the smallest share with which `dataset.labelled` shows a row's target, by row; None: with none."""
    smallest: list[float | None] = [None] * len(table.split)
    for share in sorted({*shares, 1.0}, reverse=True):
        for row in choose_labelled_rows(table, share, seed).tolist():
            smallest[row] = share
    return smallest


# ---------------------------------------------------------------------------------------------- what could not be kept


def _describe_sizes(parts: np.ndarray, request: Request) -> list[str]:
    """Describe the parts that whole groups or equal times make larger or smaller than requested."""
    if request.group is None and request.time is None:
        return []
    reason = "groups stay whole" if request.group is not None else "rows of one time stay together"
    notes = []
    for name, share in request.shares.items():
        actual = float(np.mean(parts == name))
        if abs(actual - share) > TOLERANCE * share:
            part = f"fold {name}" if request.folds is not None else name
            notes.append(f"{part} has {actual:.1%} of the rows, not {share:.1%}: {reason}")
    return notes


def _describe_absent_classes(name: str, target: Target, parts: np.ndarray, names: Sequence[str]) -> list[str]:
    """Describe the classes and labels that a part has no row of."""
    if target.task == "regression":
        return []
    counts = np.array(list(count_labels(target, parts, names).values()))  # [parts, C]
    notes = []
    for label in np.flatnonzero((counts == 0).any(axis=0)).tolist():
        absent = [part for part, part_counts in zip(names, counts, strict=True) if part_counts[label] == 0]
        total = counts[:, label].sum()
        where = f"fold {', '.join(absent)}" if names[0] not in SPLITS else " and ".join(absent)
        rows = "1 row" if total == 1 else f"{total} rows"
        notes.append(f"{name}: '{shorten(target.names[label])}' has {rows}, and none in {where}")
    more = len(notes) - MAX_CLASSES_NAMED
    return notes if more <= 0 else [*notes[:MAX_CLASSES_NAMED], f"{name}: {more} more classes are not in every part"]


def _find_times(
    sheet: Sheet, column: str, times: np.ndarray, parts: np.ndarray, names: Sequence[str]
) -> dict[str, tuple[object, object]]:
    """Return the oldest and the newest cell of each part, as they are written."""
    ends = {}
    for name in names:
        rows = np.flatnonzero(parts == name)
        first, last = rows[times[rows].argmin()], rows[times[rows].argmax()]
        ends[name] = (sheet.columns[column][int(first)], sheet.columns[column][int(last)])
    return ends


def check_request(request: Request) -> None:
    """Check that the parts of a request fit each other.

    Args:
        request: to be checked.

    Raises:
        ConfigError: they do not.
    """
    if request.folds is not None:
        if request.folds < MIN_FOLDS:
            raise ConfigError(
                f"--folds: {request.folds}; a run needs {MIN_FOLDS} or more: one for testing, one for validation, the "
                "others for training"
            )
        if request.time is not None:
            raise ConfigError(
                "--folds and --time: a fold would be tested with later rows in training; drop one of them"
            )
        if request.labelled:
            raise ConfigError(
                "--folds and --labelled: the training rows of each fold differ; use dataset.labelled=SHARE"
            )
        return
    for flag, share in (("--val", request.val), ("--test", request.test)):
        if not 0 <= share < 1:
            raise ConfigError(f"{flag}: {share} is not a share of the rows; write for example 0.1")
    if request.val + request.test == 0:
        raise ConfigError("--val and --test: both are 0, so that there is nothing to split")
    if request.val + request.test >= 1:
        raise ConfigError(f"--val and --test: {request.val} and {request.test} leave no row for training; lower them")
    if request.group is not None and request.time is not None:
        raise ConfigError("--group and --time: a group may have old and new rows, which cannot stay together; drop one")
    for share in request.labelled:
        if not 0 < share <= 1:
            raise ConfigError(f"--labelled: {share} is not a share of the training rows; write for example 0.01,0.1")
