"""What the columns of the user's file mean: modalities, targets with their tasks and classes, split, group and id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from unicodedata import normalize

from mmrun.data import infer
from mmrun.data.folds import find_bookkeeping
from mmrun.data.sheets.sheet import Sheet
from mmrun.errors import ConfigError, DataError

Names = str | Sequence[str]  # of columns


class Roles(NamedTuple):
    """What the config says of the columns of a file; all but `times` are arguments of `sources.manifest.manifest`.

    Attributes:
        columns: the column or columns of each modality.
        kinds: of the modalities whose kind is not inferred.
        target: column to predict, or several.
        split: column of train, val and test.
        group: column whose rows stay together.
        id: column of unique names of the rows.
        fold: of a cross-validation, the one for testing.
        fold_column: column of the folds.
        times: columns that hold the times of rows in streams.
    """

    columns: Mapping[str, Names] | None = None
    kinds: Mapping[str, str] | None = None
    target: Names = "label"
    split: str | None = "split"
    group: str | None = None
    id: str | None = "id"
    fold: int | None = None
    fold_column: str | None = "fold"
    times: Sequence[str] = ()

    def list_names(self, task: str | Mapping[str, str] | None) -> set[str]:
        """Return the columns whose cells are names: they are not read as numbers or dates.

        Args:
            task: of all targets, or by target; None: inferred from the cells.
        """
        bookkeeping = (self.split, self.group, self.id, self.fold_column, *self.times)
        return {normalize("NFC", name) for name in bookkeeping if name is not None} | list_classes(self.target, task)


def list_targets(target: Names) -> list[str]:
    """Return the names of the columns to predict, as a sheet spells them.

    Args:
        target: one name or several.
    """
    return [normalize("NFC", name) for name in ([target] if isinstance(target, str) else target)]


def list_classes(target: Names, task: str | Mapping[str, str] | None) -> set[str]:
    """Return the targets whose cells are known to be names of classes or labels.

    Args:
        target: one name or several.
        task: of all targets, or by target; None: inferred from the cells.
    """
    targets = list_targets(target)
    tasks = dict.fromkeys(targets, task) if task is None or isinstance(task, str) else task
    return {name for name in targets if tasks.get(name) in ("classification", "multilabel")}


@dataclass(frozen=True)
class Layout:
    """Which columns of a file hold what; None: there is no such column.

    Attributes:
        modalities: by name.
        targets: columns to predict.
        split: column of train, val and test.
        group: column whose rows stay together.
        id: column of unique names.
        left_out: columns that are no inputs, with the reason: "numbers the rows".
        fold: column of the folds of a cross-validation, if one of them is chosen.
    """

    modalities: dict[str, infer.Modality]
    targets: list[str]
    split: str | None
    group: str | None
    id: str | None
    left_out: dict[str, str]
    fold: str | None = None


@dataclass(frozen=True)
class Schema:
    """What the columns of a file mean.

    Attributes:
        layout: which columns hold what.
        tasks: by target.
        orders: of the classes, by target; None: there is none.
        numeric: targets whose cells are numbers.
        notes: what was inferred.
    """

    layout: Layout
    tasks: dict[str, str]
    orders: dict[str, Sequence[str] | None]
    numeric: set[str]
    notes: list[str]


def infer_layout(sheet: Sheet, roles: Roles) -> Layout:
    """Infer which columns of a file hold what.

    Args:
        sheet: the file, or its first rows.
        roles: what the config says of its columns.

    Raises:
        ConfigError: a column does not exist, or is used twice.
    """
    targets = list_targets(roles.target)
    if not targets:
        raise ConfigError("dataset.target: no column is named; name at least one")
    for name in targets:
        infer.require_column(sheet, name, "dataset.target")
    group = None if roles.group is None else infer.require_column(sheet, roles.group, "dataset.group")
    split = _find_optional_column(sheet, roles.split, "split")
    id = _find_optional_column(sheet, roles.id, "id")
    fold = None if roles.fold is None else _require_folds(sheet, roles.fold_column)
    for name in roles.times:
        infer.require_column(sheet, name, "dataset.align.NAME.time")
    reserved = {*targets, group, split, id, fold, *roles.times, *sheet.derived}
    left_out = {} if roles.columns else _find_left_out(sheet, reserved, roles.fold_column)
    modalities = infer.infer_modalities(sheet, roles.columns or {}, roles.kinds or {}, reserved | left_out.keys())
    return Layout(modalities, targets, split, group, id, left_out, fold)


def _require_folds(sheet: Sheet, fold_column: str | None) -> str:
    """Return the column of folds, which has to exist."""
    if fold_column is None:
        raise ConfigError("dataset.fold: no column holds folds; set dataset.fold_column=COLUMN")
    return infer.require_column(sheet, fold_column, "dataset.fold_column")


def _find_left_out(sheet: Sheet, reserved: set[str | None], fold_column: str | None) -> dict[str, str]:
    """Return the columns that are no inputs unless they are named, with the reason."""
    left_out = dict.fromkeys(infer.find_identifiers(sheet, reserved), "is different in each row")
    left_out |= dict.fromkeys(infer.find_row_numbers(sheet, reserved), "numbers the rows")
    for name, reason in find_bookkeeping(sheet, fold_column).items():
        if name not in reserved:
            left_out[name] = reason
    return left_out


def _find_optional_column(sheet: Sheet, name: str | None, default: str) -> str | None:
    """Return the column, or None where it is the default one and the file has none."""
    if name is None or (name == default and name not in sheet.columns):
        return None
    return infer.require_column(sheet, name, f"dataset.{default}")


def resolve_schema(
    sheet: Sheet,
    layout: Layout,
    task: str | Mapping[str, str] | None,
    order: Sequence[str] | Mapping[str, Sequence[str]] | None,
) -> Schema:
    """Infer what the targets are, as far as it is not given.

    Args:
        sheet: the file.
        layout: its columns.
        task: that of all targets, or by target; None: inferred from the cells.
        order: of the classes of the ordinal targets, or by target; None: they are numbers.

    Raises:
        ConfigError: a task or an order does not fit the targets.
        DataError: a target has no value.
    """
    tasks = _check_tasks(layout.targets, task)
    numeric, notes = set(), []
    for name in layout.targets:
        labels = sheet.columns[name].drop_empty()
        if len(labels) == 0:
            raise DataError(f"{sheet.name}: column '{name}' is empty; fill it in, or name another with dataset.target")
        reading = sheet.readings.get(name)
        if reading is not None and reading.kind in ("text", "category"):
            tasks.setdefault(name, "classification")
        elif infer.are_numbers(labels):
            numeric.add(name)
        if name not in tasks:
            tasks[name], reason = infer.infer_task(labels)
            key = "dataset.task" if len(layout.targets) == 1 else f"dataset.task.{name}"
            notes.append(f"{name}: read as {tasks[name]} ({reason}); {key}=TASK changes it")
    tasks = {name: tasks[name] for name in layout.targets}
    for modality, (_, columns, _) in layout.modalities.items():
        if modality != columns[0] and modality.startswith(infer.name_modality(columns[0])):
            notes.append(f"column '{columns[0]}' is the modality {modality}; dataset.columns.NAME=COLUMN names it")
    for name, reason in layout.left_out.items():
        notes.append(f"column '{name}' {reason}, and is left out; dataset.columns.NAME={name} reads it")
    return Schema(layout, tasks, _resolve_orders(tasks, order), numeric, notes)


def _check_tasks(targets: Sequence[str], task: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return the requested tasks by target."""
    tasks = dict.fromkeys(targets, task) if isinstance(task, str) else dict(task or {})
    for name, requested in tasks.items():
        if name not in targets or requested not in infer.TASKS:
            raise ConfigError(
                f"dataset.task: {name}: {requested}; "
                f"the task of a target ({', '.join(targets)}) is one of {', '.join(infer.TASKS)}"
            )
    return tasks


def _resolve_orders(
    tasks: Mapping[str, str], order: Sequence[str] | Mapping[str, Sequence[str]] | None
) -> dict[str, Sequence[str] | None]:
    """Return the order of each target's classes, None where it is not set."""
    ordinal = [name for name, task in tasks.items() if task == "ordinal"]
    orders = dict(order) if isinstance(order, Mapping) else dict.fromkeys(ordinal, order)
    if order is not None and not ordinal:
        raise ConfigError("dataset.order: no target is ordinal; set dataset.task=ordinal, or drop dataset.order")
    for name in orders:
        if name not in ordinal:
            raise ConfigError(f"dataset.order.{name}: there is no such ordinal target (there are {', '.join(ordinal)})")
    return {name: orders.get(name) for name in tasks}
