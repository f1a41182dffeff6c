"""Metrics of a run on another labelled file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np

from mmrun.data.cells import RowReader
from mmrun.data.labels import Label, get_label_parser
from mmrun.data.sheets.numbers import as_number
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.rows import SheetRows, read_as_trained, read_rows
from mmrun.errors import ConfigError, DataError
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.types import IGNORE_INDEX, Task

MAX_NAMES = 5  # of unknown classes that a note lists


class TaskResult(TypedDict):
    """How one target was predicted.

    Attributes:
        rows: that have the target.
        metrics: by name.
        per_class: by class or output, then by metric.
    """

    rows: int
    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]


class NewEvaluation(TypedDict):
    """How new rows were predicted.

    Attributes:
        run: its name.
        file: as named by the user; "rows": they were in memory.
        rows: predicted.
        skipped: "place: reason" of each row that was left out.
        tasks: results by target.
        notes: what in the file differs from the training rows, one line each.
    """

    run: str
    file: str
    rows: int
    skipped: list[str]
    tasks: dict[str, TaskResult]
    notes: list[str]


def evaluate_file(predictor: Predictor, file: Path, root: Path | None = None, on_error: str = "raise") -> NewEvaluation:
    """Predict the rows of a file, and compare the predictions with its targets.

    Args:
        predictor: of the run.
        file: with the columns of the training file; targets that it lacks are left out.
        root: see `read_rows`.
        on_error: see `read_rows`.

    Raises:
        ConfigError: the file has none of the targets, or cannot be read.
        DataError: a cell cannot be read, and `on_error` is raise; or no row has a target that the run knows.
    """
    return evaluate_rows(predictor, read_rows(predictor, file, root, on_error), str(file), on_error)


def evaluate_rows(predictor: Predictor, new_rows: SheetRows, source: str, on_error: str = "raise") -> NewEvaluation:
    """Predict rows, and compare the predictions with their targets.

    Args:
        predictor: of the run.
        new_rows: with at least one target.
        source: names the rows in messages.
        on_error: raise | skip: what happens to a row whose target cannot be read.

    Raises:
        ConfigError: the rows have none of the targets.
        DataError: a target cannot be read, and `on_error` is raise; or no row has a target that the run knows.
    """
    targets = read_targets(predictor, new_rows, on_error)
    if not targets.values:
        raise ConfigError(f"{source}: has no column {' or '.join(predictor.tasks)} to compare predictions with")
    notes = [f"no {modality}: predicted without it" for modality in new_rows.missing_modalities] + new_rows.notes
    notes += targets.notes
    skipped = list(dict.fromkeys([*new_rows.skipped, *targets.skipped]))
    scores, numbers, bad = _predict_all(predictor, new_rows, on_error)
    results: dict[str, TaskResult] = {}
    for name, values in targets.values.items():
        results[name] = _compare(predictor.tasks[name], scores[name], values[numbers])
    return {
        "run": predictor.name,
        "file": source,
        "rows": len(numbers),
        "skipped": [*skipped, *bad],
        "tasks": results,
        "notes": notes,
    }


class Targets(NamedTuple):
    """The targets of new rows.

    Attributes:
        values: by task, as the run numbers them, [N] or [N, C]; of the targets that the rows have.
        skipped: "place: reason" of each target that could not be read.
        notes: about values that the run does not know, one line each.
    """

    values: dict[str, np.ndarray]
    skipped: list[str]
    notes: list[str]


def read_targets(predictor: Predictor, new_rows: SheetRows, on_error: str = "raise") -> Targets:
    """Read the targets of new rows.

    Args:
        predictor: of the run.
        new_rows: perhaps without any target.
        on_error: raise | skip: what happens to a row whose target cannot be read.

    Raises:
        DataError: a target cannot be read, and `on_error` is raise.
    """
    targets = Targets({}, [], [])
    for name in predictor.tasks:
        if name in new_rows.sheet.columns:
            reader = RowReader(read_as_trained(predictor, new_rows.sheet, [name]), on_error)
            targets.values[name], notes = read_target(predictor, name, reader, new_rows.numbers)
            targets.skipped.extend(reader.skipped)
            targets.notes.extend(notes)
    return targets


def _predict_all(
    predictor: Predictor, new_rows: SheetRows, on_error: str
) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
    """Return the scores by task, the numbers of the predicted rows, and the reasons why others were left out."""
    blocks = list(predictor.predict(new_rows.rows, on_error))
    scores = {name: np.concatenate([block.scores[name] for block in blocks]) for name in predictor.tasks}
    bad: list[str] = []
    for block in blocks:
        bad += block.bad
    return scores, np.concatenate([block.rows for block in blocks]), bad


def _compare(task: Task, scores: np.ndarray, target: np.ndarray) -> TaskResult:
    visible = find_visible(task, target)
    if not visible.any():
        raise DataError(f"target '{task.name}': no row has a value that the run knows")
    return {
        "rows": int(visible.sum()),
        "metrics": task.metrics(scores, target),
        "per_class": task.per_class(scores, target),
    }


def find_visible(task: Task, target: np.ndarray) -> np.ndarray:
    """Return which rows have a target that the run knows, [N] bool."""
    is_known = target != IGNORE_INDEX if isinstance(task, Classification) else np.isfinite(target)
    visible: np.ndarray = is_known.reshape(len(target), -1).any(1)
    return visible


def read_target(predictor: Predictor, name: str, reader: RowReader, rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the values of a target as the run numbers them, and notes about those that it does not know.

    Args:
        predictor: of the run.
        name: of the target, a column that the reader has.
        reader: of the rows.
        rows: numbers of the rows [N].

    Returns:
        [N] or [N, C]; what is empty or not known is IGNORE_INDEX or NaN.

    Raises:
        DataError: a row has another number of values than the training rows.
    """
    task = predictor.tasks[name]
    classes = task.classes if isinstance(task, Classification) else []
    are_numbers = bool(classes) and all(as_number(label) is not None for label in classes)
    parse = get_label_parser(predictor.record["tasks"][name]["kind"], are_numbers)
    labels = reader.read_column(name, parse).take(rows)
    if isinstance(task, Classification):
        return _number_classes(name, labels, classes)
    if isinstance(task, Multilabel):
        return _number_labels(name, labels, task.labels)
    return _stack_numbers(task, labels), []


def _number_classes(name: str, labels: Sequence[Label | None], classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    numbers = {label: number for number, label in enumerate(classes)}
    target = [numbers.get(str(label), IGNORE_INDEX) for label in labels]
    unknown = Counter(str(label) for label in labels if label is not None and str(label) not in numbers)
    return np.array(target, dtype=np.int64), _describe_unknown(name, unknown, "rows have a class", "left out of")


def _number_labels(name: str, sets: Sequence[Label | None], labels: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    numbers = {label: number for number, label in enumerate(labels)}
    target = np.zeros((len(sets), len(labels)), dtype=np.float32)
    unknown: Counter[str] = Counter()
    for row, names in enumerate(sets):
        if not isinstance(names, list):
            target[row] = np.nan
            continue
        target[row, [numbers[label] for label in names if label in numbers]] = 1
        unknown.update(label for label in names if label not in numbers)
    return target, _describe_unknown(name, unknown, "labels are", "ignored in")


def _stack_numbers(task: Task, labels: Sequence[Label | None]) -> np.ndarray:
    """Return [N], or [N, C] where the target has several numbers."""
    width = task.num_outputs
    target = np.full((len(labels), width), np.nan, dtype=np.float32)
    for row, label in enumerate(labels):
        if label is None:
            continue
        numbers = np.atleast_1d(np.asarray(label, dtype=np.float32))
        if len(numbers) != width:
            raise DataError(f"column '{task.name}': {len(numbers)} numbers, where the training rows have {width}")
        target[row] = numbers
    return target[:, 0] if width == 1 else target


def _describe_unknown(name: str, unknown: Counter[str], what: str, consequence: str) -> list[str]:
    if not unknown:
        return []
    listed = ", ".join(f"{label!r}" for label in list(unknown)[:MAX_NAMES])
    more = ", ..." if len(unknown) > MAX_NAMES else ""
    described = f"{unknown.total()} {what} that the run does not know ({listed}{more})"
    return [f"target '{name}': {described}; they are {consequence} the metrics"]
