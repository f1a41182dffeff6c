"""Explains the rows of a file: all of them in the summary, and those from which most is learned one by one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from mmrun.data.cells import RowReader
from mmrun.deploy.explain.contributions import Contributions
from mmrun.deploy.explain.explainer import Explainer, Saliency, is_complete
from mmrun.deploy.explain.target import ExplainedTarget
from mmrun.deploy.labelled import find_visible, read_target
from mmrun.deploy.outputs import join_labels
from mmrun.deploy.rows import SheetRows, read_as_trained
from mmrun.errors import DataError
from mmrun.tasks.classification import Classification
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Task

Track = Callable[[Iterable[np.ndarray], int], Iterable[np.ndarray]]  # passes blocks of row numbers through


@dataclass(frozen=True)
class ExplainedRow:
    """One row, and why it gets its prediction.

    Attributes:
        id: of the row.
        prediction: as text.
        truth: its target as text; None where there is none, or none that the run knows.
        is_error: whether the prediction is another class or set of labels; None without a target, and for numbers.
        scores: of all outputs [C].
        explained: number of the explained output.
        empty_score: its score without any modality.
        contributions: exact Shapley value of each modality that the row has.
        without: explained score without each of these.
        saliency: inside each of these.
        raw: their values in the file.
        batch: the row as the model reads it.
    """

    id: str
    prediction: str
    truth: str | None
    is_error: bool | None
    scores: np.ndarray
    explained: int
    empty_score: float
    contributions: dict[str, float]
    without: dict[str, float]
    saliency: dict[str, Saliency]
    raw: dict[str, object]
    batch: Batch


@dataclass
class FileExplanation:
    """Explanations of a file.

    Attributes:
        run: its name.
        source: the file.
        target: name of the explained target.
        outputs: names of its classes, labels or numbers [C].
        is_regression: whether scores are numbers in the unit of the target.
        num_rows: that were predicted.
        metric: name, value and number of rows of the primary metric; None without targets.
        mean_contributions: mean absolute Shapley value of each modality over the rows that have it.
        order: which rows are explained one by one, a phrase.
        rows: these, computed one by one while they are read.
        num_explained: how many they are.
        skipped: "place: reason" of each row that was left out.
        notes: what to know before trusting it, one line each; complete once all rows are read.
    """

    run: str
    source: str
    target: str
    outputs: list[str]
    is_regression: bool
    num_rows: int
    metric: tuple[str, float, int] | None
    mean_contributions: dict[str, float]
    order: str
    rows: Iterator[ExplainedRow]
    num_explained: int
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def explain_rows(
    explainer: Explainer, new_rows: SheetRows, source: str, max_rows: int, on_error: str, track: Track
) -> FileExplanation:
    """Score all rows with the contributions of their modalities, and choose those that are explained one by one.

    Args:
        explainer: of the run.
        new_rows: with or without the target.
        source: names them.
        max_rows: that are explained one by one.
        on_error: raise | skip: what happens to a row that cannot be decoded.
        track: shows progress.

    Raises:
        DataError: a row cannot be read, and `on_error` is raise; or none is left.
    """
    target, predictor = explainer.target, explainer.predictor
    notes = [f"no {modality}: explained without it" for modality in new_rows.missing_modalities] + new_rows.notes
    contributions, numbers, skipped = _score_all(explainer, new_rows, on_error, track)
    if len(numbers) == 0:
        raise DataError(f"{source}: no row to explain")
    truth, lines = _read_truth(explainer, new_rows, numbers, on_error)
    notes += lines
    order, description = choose_rows(target, contributions.scores, truth)
    order = order[:max_rows]
    explanation = FileExplanation(
        run=predictor.name,
        source=source,
        target=target.task.name,
        outputs=target.outputs,
        is_regression=target.is_regression,
        num_rows=len(numbers),
        metric=None if truth is None else _measure(target.task, contributions.scores, truth),
        mean_contributions=_average(contributions),
        order=description,
        rows=iter(()),
        num_explained=len(order),
        skipped=[*new_rows.skipped, *skipped],
        notes=notes,
    )
    explanation.rows = _explain_one_by_one(explainer, new_rows, explanation, contributions, truth, numbers, order)
    return explanation


def _read_truth(
    explainer: Explainer, new_rows: SheetRows, numbers: np.ndarray, on_error: str
) -> tuple[np.ndarray | None, list[str]]:
    """Return the targets of rows and notes on them; no targets where the file has none."""
    task, predictor = explainer.target.task, explainer.predictor
    if task.name not in new_rows.sheet.columns:
        return None, []
    reader = RowReader(read_as_trained(predictor, new_rows.sheet, [task.name]), on_error)
    values, notes = read_target(predictor, task.name, reader, new_rows.numbers)
    truth = values[numbers]
    return truth if find_visible(task, truth).any() else None, notes


def _measure(task: Task, scores: np.ndarray, truth: np.ndarray) -> tuple[str, float, int] | None:
    """Return name, value and number of rows of the primary metric; None where the rows do not define it."""
    value = task.metrics(scores, truth).get(task.primary_metric)
    return None if value is None else (task.primary_metric, value, int(find_visible(task, truth).sum()))


def _score_all(
    explainer: Explainer, new_rows: SheetRows, on_error: str, track: Track
) -> tuple[Contributions, np.ndarray, list[str]]:
    """Return the contributions in all rows that can be decoded, their numbers, and why others were left out."""
    parts, numbers, skipped = [], [np.zeros(0, dtype=np.int64)], []
    num_rows = len(new_rows.rows.ids)
    for block in track(explainer.predictor.split_blocks(num_rows), num_rows):
        columns, good, bad = explainer.predictor.decode_valid(new_rows.rows, block, on_error)
        parts.append(explainer.compute_contributions(columns, good))
        numbers.append(block[good])
        skipped += bad
    return explainer.join(parts), np.concatenate(numbers), skipped


def _average(contributions: Contributions) -> dict[str, float]:
    """Return the mean absolute contribution of each modality that a row has."""
    means = {}
    for modality, values in contributions.shapley.items():
        if not np.isnan(values).all():
            means[modality] = float(np.nanmean(np.abs(values)))
    return means


def choose_rows(target: ExplainedTarget, scores: np.ndarray, truth: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Sort rows so that those from which most is learned come first.

    Args:
        target: that is explained.
        scores: [N, C].
        truth: [N] or [N, C]; None: rows have no target.

    Returns:
        Numbers of the rows [N], and a phrase that describes the order.
    """
    confidence = scores[:, 0] if target.is_regression else scores.max(1)
    if truth is None:
        ranks = np.argsort(-confidence, kind="stable")
        half = -(-len(ranks) // 2)
        alternating = np.empty_like(ranks)
        alternating[0::2], alternating[1::2] = ranks[:half], ranks[half:][::-1]
        extremes = "the highest and the lowest" if target.is_regression else "the most and the least confident"
        return alternating, f"{extremes} predictions in turn"
    visible = find_visible(target.task, truth)
    if isinstance(target.task, Classification):
        surprise = np.where(scores.argmax(1) != truth, confidence, -confidence)
        phrase = "the most confident errors first, then the least confident of the other rows"
    else:
        scale = target.task.std.numpy() if isinstance(target.task, Regression) else 1.0
        errors = np.abs(scores - truth.reshape(len(truth), -1)) / scale
        surprise = np.nan_to_num(errors).max(1)
        phrase = "the largest errors first"
    return np.argsort(-np.where(visible, surprise, -np.inf), kind="stable"), phrase


def _explain_one_by_one(
    explainer: Explainer,
    new_rows: SheetRows,
    explanation: FileExplanation,
    contributions: Contributions,
    truth: np.ndarray | None,
    numbers: np.ndarray,
    order: np.ndarray,
) -> Iterator[ExplainedRow]:
    rows, target = new_rows.rows, explainer.target
    visible = np.zeros(len(numbers), dtype=bool) if truth is None else find_visible(target.task, truth)
    saliencies = explainer.iterate_saliency(rows, numbers[order], contributions.explained[order])
    num_incomplete = 0
    for row, (batch, saliency) in zip(order.tolist(), saliencies, strict=True):
        number = int(numbers[row])
        is_known = truth is not None and bool(visible[row])
        prediction = describe_scores(target, contributions.scores[row])
        true_label = describe_truth(target, truth[row]) if truth is not None and is_known else None
        output = int(contributions.explained[row])
        score, scale = float(contributions.scores[row, output]), target.scale_of(output)
        num_incomplete += not all(is_complete(part, score, scale) for part in saliency.values())
        yield ExplainedRow(
            id=rows.ids[number],
            prediction=prediction,
            truth=true_label,
            is_error=None if target.is_regression or not is_known else prediction != true_label,
            scores=contributions.scores[row],
            explained=output,
            empty_score=float(contributions.empty_score[row]),
            contributions={name: float(contributions.shapley[name][row]) for name in saliency},
            without={name: float(contributions.without[name][row]) for name in saliency},
            saliency=saliency,
            raw={modality: rows.columns[modality].values[number] for modality in saliency},
            batch=batch,
        )
    explanation.notes += explainer.notes
    if num_incomplete:
        explanation.notes.append(
            f"in {num_incomplete} of {len(order)} rows the integrated gradients of a modality do not add up to "
            "the change of the score within 5 %; compare them with --method occlusion"
        )


def describe_scores(target: ExplainedTarget, scores: np.ndarray) -> str:
    """Return what the scores of one row predict, as text.

    Args:
        target: that is explained.
        scores: [C].
    """
    if isinstance(target.task, Multilabel):
        return join_labels(target.outputs, scores >= 0.5)
    if target.is_regression:
        return ", ".join(f"{number:.4g}" for number in scores.tolist())
    return target.outputs[int(scores.argmax())]


def describe_truth(target: ExplainedTarget, truth: np.ndarray) -> str:
    """Return the known target of one row, as text.

    Args:
        target: that is explained.
        truth: a class number, labels [C], or numbers.
    """
    if isinstance(target.task, Multilabel):
        return join_labels(target.outputs, truth >= 0.5)
    if target.is_regression:
        return ", ".join(f"{number:.4g}" for number in np.atleast_1d(truth).tolist())
    return target.outputs[int(truth)]
