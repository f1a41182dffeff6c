"""What a server asks of a model, and how scores become an answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mmrun.data.preprocess.tabular import Cells
from mmrun.deploy.rows import RowSpec
from mmrun.deploy.serve.cells import ReadRow
from mmrun.deploy.serve.problems import RequestError
from mmrun.deploy.serve.schema import Schema, ServedTarget
from mmrun.deploy.serve.values import RawValues, read_values

Answer = dict[str, object]  # of one row, as JSON
Scores = Mapping[int, Sequence[Sequence[float]]]  # by number of the row, then of the target: [C]
Errors = dict[int, RequestError]  # by number of the row; `where` is a column or modality


class ServedModel(Protocol):
    """A finished run that answers requests; each method is called by one thread at a time.

    Attributes:
        schema: what it reads and predicts.
        backend: torch or onnx.
        explains: whether `explain` works.
    """

    schema: Schema
    backend: str
    explains: bool

    def predict(self, requests: Sequence[Sequence[ReadRow]]) -> list[list[Answer] | RequestError]:
        """Predict the rows of several requests together.

        Returns:
            For each request an answer per row, or why one of its rows cannot be decoded.
        """
        ...

    def explain(self, row: ReadRow, target: str | None) -> Answer:
        """Explain the prediction for one row.

        Args:
            row: any.
            target: TARGET or TARGET=OUTPUT; None: the first one.

        Raises:
            RequestError: the row cannot be decoded, or there is no such target.
        """
        ...


def answer_requests(
    run: RowSpec,
    schema: Schema,
    requests: Sequence[Sequence[ReadRow]],
    score: Callable[[RawValues, Errors], Scores],
) -> list[list[Answer] | RequestError]:
    """Answer several requests, whose rows are predicted together.

    Args:
        run: how its rows are read.
        schema: of its rows.
        requests: each with its rows.
        score: predicts the rows that have no error; adds the errors of those that cannot be decoded.
    """
    rows = [row for request in requests for row in request]
    values, errors = read_values(run, schema, rows)
    answers: dict[int, Answer] = {}
    for number, row_scores in score(values, errors).items():
        notes = _describe_unseen(run, {modality: row_values[number] for modality, row_values in values.items()})
        answers[number] = describe_row(schema, rows[number], row_scores, notes)
    return _split_answers(requests, answers, errors)


def describe_row(schema: Schema, row: ReadRow, scores: Sequence[Sequence[float]], notes: Sequence[str]) -> Answer:
    """Return the answer to one row.

    Args:
        schema: of the run.
        row: of the request.
        scores: of each target.
        notes: what to know about the row.
    """
    missing = _find_missing(schema, row)
    all_notes = [f"no {name}: predicted without it" for name in missing]
    all_notes += [f"'{name}' is a target, and not read" for name in row.ignored]
    predictions = {}
    for target, values in zip(schema.targets, scores, strict=True):
        predictions[target.name] = _describe_scores(target, values)
    return {"id": row.id, "predictions": predictions, "notes": [*all_notes, *notes]}


def _find_missing(schema: Schema, row: ReadRow) -> list[str]:
    """Return the modalities that a row lacks."""
    missing = []
    for modality in schema.modalities:
        if not any(column.name in row.values for column in modality.fields):
            missing.append(modality.name)
    return missing


def _describe_scores(target: ServedTarget, scores: Sequence[float]) -> Answer:
    """Return the prediction of one target: a class, labels or a number, and the probability of each class or label."""
    named = dict(zip(target.outputs, scores, strict=True))
    if target.task == "regression":
        return {"prediction": scores[0] if len(scores) == 1 else named}
    if target.task == "multilabel":
        return {"prediction": [name for name, score in named.items() if score >= 0.5], "scores": named}
    return {"prediction": max(named, key=lambda name: named[name]), "scores": named}


def _describe_unseen(run: RowSpec, values: Mapping[str, object]) -> list[str]:
    """Return a note on each category of a row that no training row has."""
    notes = []
    for modality, value in values.items():
        preprocessor = run.preprocessors[modality]
        if isinstance(preprocessor, Cells) and isinstance(value, Mapping):
            notes += [_describe_category(name, value[name]) for name in preprocessor.find_unknown(value)]
    return notes


def _describe_category(name: str, cell: object) -> str:
    described = "empty, which no training row is" if cell is None else f"{str(cell)[:40]!r}, which no training row has"
    return f"'{name}' is {described}: read as unknown"


def _split_answers(
    requests: Sequence[Sequence[ReadRow]], answers: Mapping[int, Answer], errors: Errors
) -> list[list[Answer] | RequestError]:
    """Return the answers of each request, or the error of its first bad row."""
    split: list[list[Answer] | RequestError] = []
    start = 0
    for request in requests:
        numbers = range(start, start + len(request))
        start = numbers.stop
        bad = next((number for number in numbers if number in errors), None)
        if bad is None:
            split.append([answers[number] for number in numbers])
        else:
            split.append(locate_error(errors[bad], bad - numbers.start))
    return split


def locate_error(error: RequestError, number: int) -> RequestError:
    """Return the error of a cell with its place in the request.

    Args:
        error: whose `where` is a column or modality.
        number: of the row.
    """
    return RequestError(error.status, f"rows[{number}].{error.where}", error.what, error.mend)
