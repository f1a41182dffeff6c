"""The data of one run: the data set is opened, what the training rows decide is fitted, and columns are decoded."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from mmrun import plugins
from mmrun.config import LABELS, RunConfig
from mmrun.data import split
from mmrun.data.file_digests import MEMORY, FileDigests
from mmrun.data.fitted import Fit, digest_state
from mmrun.data.packed import release_memory
from mmrun.data.preprocess import items
from mmrun.data.preprocess.notes import describe_preprocessors
from mmrun.data.presence import describe_missing, find_complete_rows
from mmrun.data.progress import Listener
from mmrun.data.row_digests import hash_rows, record_data
from mmrun.data.store import PreprocessedColumn, open_column
from mmrun.data.table import SPLITS, Table
from mmrun.errors import ConfigError, DataError, nearest
from mmrun.instantiate import instantiate
from mmrun.tasks import fit_task, restore_task
from mmrun.tasks.regression import Regression
from mmrun.types import Preprocessor, Task


@dataclass(frozen=True)
class Fitted:
    """What the training rows decide, and the model is built from.

    Attributes:
        kinds: kind of each modality that the run reads.
        preprocessors: by modality, fitted on the training rows.
        tasks: what is predicted, by name.
    """

    kinds: dict[str, str]
    preprocessors: dict[str, Preprocessor]
    tasks: dict[str, Task]

    @property
    def metadata(self) -> dict[str, dict[str, Any]]:
        """By modality, the arguments that its preprocessor offers to encoders and objectives."""
        return {modality: preprocessor.metadata for modality, preprocessor in self.preprocessors.items()}


@dataclass(frozen=True)
class Data(Fitted):
    """A data set, opened for one run.

    Attributes:
        table: what the source returned.
        rows: row numbers, ascending, by what they are for: all, labelled, unlabelled, bootstrap (of the training
            rows), val, test.
        files: digests of the files that the data set names.
        task_arguments: what the labelled rows decided about each task.
        train: numbers of the training rows, also of those that turn out not to be decodable.
        warnings: of the run about its data, beside those of the table: one line each.
    """

    table: Table
    rows: dict[str, np.ndarray]
    files: FileDigests
    task_arguments: dict[str, dict[str, Any]]
    train: np.ndarray
    warnings: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What the preprocessors chose from the rows, and what they cut or change: one line each."""
        return describe_preprocessors(self.preprocessors)

    @cached_property
    def fits(self) -> dict[str, Fit]:
        """Digests of what was fitted to the training rows, by part: encoder.text, task.label."""
        fits = {}
        for modality, preprocessor in self.preprocessors.items():
            fits[f"encoder.{modality}"] = digest_state(preprocessor.state())
        for name, task in self.tasks.items():
            state: dict[str, object] = {"classes": self.table.targets[name].names}
            if isinstance(task, Regression):
                state |= {"mean": task.mean.tolist(), "deviation": task.std.tolist()}
            fits[f"task.{name}"] = digest_state(state)
        return fits

    def warn(self, warnings: Iterable[str]) -> None:
        """Add warnings, once each.

        Args:
            warnings: one line each.
        """
        known = {*self.table.warnings, *self.warnings}
        self.warnings.extend(line for line in warnings if line not in known)


def open_table(config: RunConfig, files: FileDigests) -> Table:
    """Read the data set; the files that it names are read only where their content is not known yet.

    Args:
        config: its dataset.
        files: what `open_file_digests` returned.

    Raises:
        DataError: the data cannot be used.
    """
    table: Table = instantiate(config.dataset, "dataset", {"digests": files}, drop=LABELS)
    if not plugins.is_allowed(config.dataset["_target_"]):
        return table
    content = hash_rows(record_data(table, files))  # a source of the user's own may leave something out
    return replace(table, fingerprint=content, old_fingerprint=table.fingerprint)


def open_file_digests(config: RunConfig) -> FileDigests:
    """Return the digests of files that runs with this cache folder remember.

    Args:
        config: its cache folder.
    """
    return FileDigests(Path(config.cache).expanduser() / MEMORY)


def open_data(config: RunConfig) -> Data:
    """Open the data set, and fit what the training rows decide: vocabularies, means, the labelled share.

    Raises:
        DataError: the data cannot be used, or a split has no row.
    """
    files = open_file_digests(config)
    table = open_table(config, files)
    for name in SPLITS:
        if len(table.rows(name)) == 0:
            raise DataError(f"dataset: the {name} split has no row; each of {', '.join(SPLITS)} needs some")
    table.notes.extend(describe_missing(table, config.encoder))
    train = table.rows("train")
    if config.missing == "drop":
        complete = find_complete_rows(table, config.encoder, train)
        num_left_out = len(train) - len(complete)
        table.notes.append(
            f"missing=drop: {num_left_out} of {len(train)} training rows lack a modality, and are left out"
        )
        train = complete
    rows = choose_rows(config, table, train)
    preprocessors = {}
    for modality, node in config.encoder.items():
        column = table.columns[modality]
        preprocessor: Preprocessor = instantiate(node["preprocess"], f"encoder.{modality}.preprocess")
        preprocessor = items.wrap(preprocessor, column)
        preprocessor.fit(column, train)
        preprocessors[modality] = preprocessor
    arguments, tasks = _fit_tasks(config, table, rows["labelled"])
    kinds = {modality: table.columns[modality].kind for modality in config.encoder}
    return Data(kinds, preprocessors, tasks, table, rows, files, arguments, train)


def redraw_data(data: Data, columns: Mapping[str, PreprocessedColumn], config: RunConfig) -> Data:
    """Return an opened data set as a run with another seed sees it; what a seed does not draw is shared.

    Args:
        data: of a run with the same data set and encoders.
        columns: decoded, of that run.
        config: of the other run.
    """
    rows = choose_rows(config, data.table, data.train)
    arguments, tasks = _fit_tasks(config, data.table, rows["labelled"])
    _remove_undecodable(rows, columns.values())
    return replace(data, rows=rows, task_arguments=arguments, tasks=tasks, warnings=[])


def identify_data(config: RunConfig) -> str:
    """Return a key that configs share whose data set is opened in the same way, but for what a seed draws.

    Args:
        config: of a run.
    """
    preprocess = {modality: node["preprocess"] for modality, node in config.encoder.items()}
    cache = [config.cache, config.cache_limit]
    return json.dumps([config.dataset, preprocess, config.missing, config.tasks, cache], sort_keys=True)


class DataSets:
    """Opens each data set once for several runs. Raw columns are kept: none of the runs may decode its data."""

    def __init__(self) -> None:
        self._opened: dict[str, Data] = {}

    def open(self, config: RunConfig) -> Data:
        """Open the data of a run; see `open_data`.

        Args:
            config: of the run.
        """
        key = identify_data(config)
        if key not in self._opened:
            self._opened[key] = open_data(config)
        return redraw_data(self._opened[key], {}, config)


def choose_rows(config: RunConfig, table: Table, train: np.ndarray) -> dict[str, np.ndarray]:
    """Return row numbers by what they are for: all, labelled, unlabelled, bootstrap, val and test.

    Args:
        config: its seed draws the labelled share and the bootstrap.
        table: of the rows.
        train: numbers of the rows to train on.
    """
    labelled = split.choose_labelled_rows(table, config.dataset["labelled"], config.seed, config.dataset["shots"])
    labelled = labelled[np.isin(labelled, train)]
    rows = {"all": train, "labelled": labelled, "unlabelled": train[~np.isin(train, labelled)]}
    rows["bootstrap"] = split.draw_bootstrap_rows(labelled, config.seed)
    return rows | {name: table.rows(name) for name in ("val", "test")}


def _fit_tasks(
    config: RunConfig, table: Table, labelled: np.ndarray
) -> tuple[dict[str, dict[str, Any]], dict[str, Task]]:
    """Return what the labelled rows decide about each task, and the tasks."""
    arguments = {name: fit_task(name, target, labelled) for name, target in table.targets.items()}
    return arguments, _build_tasks(config, table, arguments)


def _build_tasks(config: RunConfig, table: Table, arguments: Mapping[str, dict[str, Any]]) -> dict[str, Task]:
    """Build the task of each target: the user's own where `tasks` names one."""
    for name in config.tasks:
        if name not in table.targets:
            targets = f"{nearest(name, table.targets)} (it has {', '.join(table.targets)})"
            raise ConfigError(f"tasks.{name}: the data set has no such target{targets}")
    tasks = {}
    for name, target in table.targets.items():
        node = config.tasks.get(name)
        build = None if node is None else partial(instantiate, node, f"tasks.{name}")
        tasks[name] = restore_task(name, target.task, arguments[name], build)
    return tasks


def open_columns(config: RunConfig, data: Data, listener: Listener | None = None) -> dict[str, PreprocessedColumn]:
    """Decode each modality, or open what an earlier run decoded; then free the raw values, which take more memory.

    Rows that cannot be decoded are removed from `data.rows`.

    Args:
        config: its cache folder and limit.
        data: its raw columns are emptied.
        listener: is shown the progress.

    Returns:
        By modality, the decoded column.
    """
    folder, limit = Path(config.cache).expanduser() / "columns", int(config.cache_limit * 1e9)
    table = data.table
    columns = {}
    for modality, preprocessor in data.preprocessors.items():
        key = f"{table.fingerprint}/{modality}"
        column = open_column(table.columns[modality], preprocessor, key, folder, limit, table.on_error, listener)
        _remove_undecodable(data.rows, [column])
        table.skipped.extend(column.bad)
        columns[modality] = column
    table.columns.clear()
    release_memory()
    return columns


def _remove_undecodable(rows: dict[str, np.ndarray], columns: Iterable[PreprocessedColumn]) -> None:
    for column in columns:
        for name, numbers in rows.items():
            rows[name] = numbers[~np.isin(numbers, column.bad_rows)]


def describe_data(data: Data) -> list[str]:
    """Describe what was inferred and chosen from the data, what is cut or changed, and what may be a mistake in them.

    Returns:
        Messages that begin with "note: " or "warning: ".
    """
    notes = [f"note: {line}" for line in (*data.table.notes, *data.notes)]
    return [*notes, *(f"warning: {line}" for line in (*data.table.warnings, *data.warnings))]
