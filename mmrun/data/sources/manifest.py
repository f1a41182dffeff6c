"""The user's own data: a CSV, JSON Lines or Parquet file whose cells are files, texts, numbers and targets."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data import cells, infer
from mmrun.data.split import known, make_split, strata
from mmrun.data.table import Column, Table, Target
from mmrun.data.table_file import SAMPLE, SUFFIXES, Sheet, read_sheet
from mmrun.errors import ConfigError, DataError

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
Names = str | Sequence[str]


def manifest(
    path: str | None,
    columns: Mapping[str, Names] | None = None,
    kinds: Mapping[str, str] | None = None,
    target: Names = "label",
    task: str | Mapping[str, str] | None = None,
    order: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    split: str | None = "split",
    group: str | None = None,
    id: str | None = "id",
    root: str | None = None,
    allow_outside: bool = False,
    on_error: str = "raise",
    split_seed: int = 0,
    hint: str = "set dataset.path=FILE",
) -> Table:
    """Open a file and check every row of it but what lies inside the files that it names.

    The columns `split` and `id` are used where the file has them. Without a split, rows are divided 80/10/10, alike in
    each class and by `group`; those without a target are for training.
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"dataset.on_error: '{on_error}'; choose raise or skip")
    file = _locate(path, hint)
    folder = file.parent if root is None else Path(root).expanduser()
    sheet = read_sheet(file)
    rows = cells.Rows(sheet, on_error)
    layout = _Layout(sheet, columns, kinds, target, split, group, id)
    tasks = _tasks(sheet, layout.targets, task)
    orders = _orders(tasks, order)

    files = cells.Files(folder, allow_outside)
    values = {name: cells.values(rows, modality, files) for name, modality in layout.modalities.items()}
    rows.need_one_of(values)
    answers = {name: rows.each(name, cells.answer(tasks[name])) for name in layout.targets}
    ids = sheet.places() if layout.id is None else rows.unique(layout.id)
    groups = None if group is None else rows.each(group, str, required=True)
    said_split = None if layout.split is None else rows.each(layout.split, _split_word, required=True)
    if said_split is not None:
        for name in layout.targets:
            rows.need_answers(name, answers[name], said_split)

    keep = rows.kept()
    targets = {
        name: cells.encode(tasks[name], answers[name].taken(keep), name, sheet.name, orders[name])
        for name in layout.targets
    }
    kept_groups = None if groups is None else np.array(list(groups.taken(keep)))
    kept_split = None if said_split is None else np.array(list(said_split.taken(keep)))
    return Table(
        ids=ids.taken(keep),
        columns={
            name: Column(kind, values[name].taken(keep), sheet.places(names).taken(keep))
            for name, (kind, names, _) in layout.modalities.items()
        },
        targets=targets,
        split=_split(sheet.name, kept_split, targets, kept_groups, split_seed),
        fingerprint=_fingerprint(file, files, layout, tasks, orders, sheet.lines[keep] if rows.skipped() else None),
        groups=kept_groups,
        root=folder,
        skipped=rows.skipped(),
        on_error=on_error,
    )


def look(
    path: str | None,
    columns: Mapping[str, Names] | None = None,
    kinds: Mapping[str, str] | None = None,
    target: Names = "label",
    split: str | None = "split",
    group: str | None = None,
    id: str | None = "id",
    hint: str = "set dataset.path=FILE",
    **others: Any,
) -> dict[str, infer.Modality]:
    """Infer the modalities as `manifest` does, from the header and the first rows alone."""
    sheet = read_sheet(_locate(path, hint), limit=SAMPLE)
    return _Layout(sheet, columns, kinds, target, split, group, id).modalities


def describe(**arguments: Any) -> dict[str, str]:
    """Return the kind of each modality; the arguments are those of `manifest`."""
    return {name: modality.kind for name, modality in look(**arguments).items()}


class _Layout:
    """Which column of a file is what."""

    def __init__(
        self,
        sheet: Sheet,
        columns: Mapping[str, Names] | None,
        kinds: Mapping[str, str] | None,
        target: Names,
        split: str | None,
        group: str | None,
        id: str | None,
    ) -> None:
        self.targets = [target] if isinstance(target, str) else list(target)
        if not self.targets:
            raise ConfigError("dataset.target: no column is named; name at least one")
        for name in self.targets:
            infer.require(sheet, name, "dataset.target")
        if group is not None:
            infer.require(sheet, group, "dataset.group")
        self.group = group
        self.split = _where_there(sheet, split, "split")
        self.id = _where_there(sheet, id, "id")
        reserved = {*self.targets, self.group, self.split, self.id}
        self.modalities = infer.modalities(sheet, columns or {}, kinds or {}, reserved)


def _where_there(sheet: Sheet, name: str | None, default: str) -> str | None:
    """Return the column, or None where it is the default one and the file has none."""
    if name is None or (name == default and name not in sheet.columns):
        return None
    infer.require(sheet, name, f"dataset.{default}")
    return name


def _locate(path: str | None, hint: str) -> Path:
    if path is None:
        raise DataError(f"dataset.path: none is given; {hint}")
    file = Path(path).expanduser()
    if file.is_dir():
        inside = [file / f"manifest{suffix}" for suffix in SUFFIXES]
        file = next((candidate for candidate in inside if candidate.is_file()), inside[0])
    if not file.is_file():
        raise DataError(f"dataset.path: {file} is not there; {hint}")
    return file


def _tasks(sheet: Sheet, targets: Sequence[str], said: str | Mapping[str, str] | None) -> dict[str, str]:
    by_name = dict.fromkeys(targets, said) if isinstance(said, str) else dict(said or {})
    for name, task in by_name.items():
        if name not in targets or task not in infer.TASKS:
            raise ConfigError(
                f"dataset.task: {name}: {task}; a target ({', '.join(targets)}) is {', '.join(infer.TASKS)}"
            )
    for name in targets:
        known_cells = [cell for cell in sheet.columns[name] if cell is not None]
        if not known_cells:
            raise DataError(f"{sheet.name}: column '{name}' is empty; fill it in, or name another with dataset.target")
        by_name.setdefault(name, infer.task(known_cells))
    return {name: by_name[name] for name in targets}


def _orders(
    tasks: Mapping[str, str], said: Sequence[str] | Mapping[str, Sequence[str]] | None
) -> dict[str, Sequence[str] | None]:
    """Return the order of each target's classes, where one is said."""
    ordinal = [name for name, task in tasks.items() if task == "ordinal"]
    by_name = dict(said) if isinstance(said, Mapping) else dict.fromkeys(ordinal, said)
    if said is not None and not ordinal:
        raise ConfigError("dataset.order: no target is ordinal; say dataset.task=ordinal, or leave the order out")
    for name in by_name:
        if name not in ordinal:
            raise ConfigError(f"dataset.order.{name}: there is no such ordinal target (there are {', '.join(ordinal)})")
    return {name: by_name.get(name) for name in tasks}


def _split_word(cell: Any) -> str:
    word = str(cell).strip().lower()
    if word not in SPLIT_WORDS:
        raise DataError(f"'{cell}' is no split; write train, val or test")
    return SPLIT_WORDS[word]


def _split(
    name: str, said: np.ndarray | None, targets: Mapping[str, Target], groups: np.ndarray | None, seed: int
) -> np.ndarray:  # [N] str
    """Take the file's split, or make one; either way no group stands in two."""
    if said is not None:
        if groups is not None:
            _refuse_torn(name, said, groups)
        return said
    answered = np.all([known(target) for target in targets.values()], axis=0)
    if groups is not None and not answered.all():
        raise DataError(
            f"{name}: {(~answered).sum()} rows have no target, and dataset.group is set; give a split column as well"
        )
    split = np.full(len(answered), "train", dtype="<U5")
    by_row = strata(next(iter(targets.values())))[answered]
    try:
        split[answered] = make_split(len(by_row), seed, by_row, groups)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    return split


def _refuse_torn(name: str, split: np.ndarray, groups: np.ndarray) -> None:
    pairs = np.unique(np.stack([groups, split]), axis=1)  # [2, group-split pairs]
    twice = np.flatnonzero(pairs[0, 1:] == pairs[0, :-1])
    if len(twice):
        group, one, other = pairs[0, twice[0]], pairs[1, twice[0]], pairs[1, twice[0] + 1]
        raise DataError(f"{name}: group '{group}' is in {one} and in {other}; keep the rows of a group in one split")


def _fingerprint(
    file: Path,
    files: cells.Files,
    layout: _Layout,
    tasks: Mapping[str, str],
    orders: Mapping[str, Sequence[str] | None],
    kept: np.ndarray | None,
) -> str:
    """Hash the file, what it names and how it is read; no absolute path, so that it is the same on every machine."""
    with open(file, "rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    read_as = {name: [modality.kind, modality.columns] for name, modality in layout.modalities.items()}
    ranked = {name: list(order) for name, order in orders.items() if order is not None}
    said = [
        content,
        sorted(files.sizes.items()),
        read_as,
        dict(tasks),
        layout.id,
        layout.group,
        [] if kept is None else kept.tolist(),
        *([ranked] if ranked else []),
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
