"""A served run in PyTorch."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from mmrun.data.preprocess.items import Items
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.store import MappedColumn
from mmrun.data.table import Column
from mmrun.deploy.explain.explainer import Explainer
from mmrun.deploy.explain.file import explain_rows
from mmrun.deploy.explain.page import draw_row
from mmrun.deploy.explain.target import name_outputs, parse_target
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.deploy.rows import SheetRows, name_columns
from mmrun.deploy.serve.cells import ReadRow
from mmrun.deploy.serve.model import Answer, describe_row, describe_unseen, find_missing, locate_error, split_answers
from mmrun.deploy.serve.problems import RequestError, from_message
from mmrun.deploy.serve.schema import Field, Modality, Schema, ServedTarget, describe_cell_field
from mmrun.deploy.serve.values import explain_value, read_values
from mmrun.errors import ConfigError
from mmrun.results.schema import FittedModality


class TorchModel:
    """A served run in PyTorch.

    Args:
        predictor: of the run.

    Raises:
        ConfigError: the columns of a modality are not known.
    """

    backend = "torch"
    explains = True

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.schema = build_schema(predictor)

    def predict(self, requests: Sequence[Sequence[ReadRow]]) -> list[list[Answer] | RequestError]:
        """Predict the rows of several requests together; see `ServedModel`."""
        rows = [row for request in requests for row in request]
        values, errors = read_values(self._predictor, self.schema, rows)
        columns = self._decode(rows, values, errors)
        good = np.array([number for number in range(len(rows)) if number not in errors], dtype=np.int64)
        scores, _ = self._predictor.compute(columns, good)
        by_task = [scores[target.name].tolist() for target in self.schema.targets]
        answers: dict[int, Answer] = {}
        for place, number in enumerate(good.tolist()):
            row_scores = [task_scores[place] for task_scores in by_task]
            row_values = {name: of_modality[number] for name, of_modality in values.items()}
            notes = describe_unseen(self._predictor.fitted.preprocessors, row_values)
            answers[number] = describe_row(self.schema, rows[number], row_scores, notes)
        return split_answers(requests, answers, errors)

    def _decode(
        self, rows: Sequence[ReadRow], values: dict[str, list[object]], errors: dict[int, RequestError]
    ) -> dict[str, MappedColumn]:
        """Decode all rows, and add the errors of those that cannot be."""
        table = {modality.name: Column(modality.kind, values[modality.name]) for modality in self.schema.modalities}
        columns = self._predictor.decode(Rows([row.id for row in rows], table), np.arange(len(rows)))
        for modality in self.schema.modalities:
            column = columns[modality.name]
            for number, message in zip(column.bad_rows.tolist(), column.bad, strict=True):
                errors.setdefault(number, explain_value(modality, values[modality.name][number], message))
        return columns

    def explain(self, row: ReadRow, target: str | None) -> Answer:
        """Explain the prediction for one row; see `ServedModel`."""
        values, errors = read_values(self._predictor, self.schema, [row])
        self._decode([row], values, errors)
        if errors:
            raise locate_error(errors[0], 0)
        try:
            explained = parse_target(self._predictor.tasks, target)
        except ConfigError as error:
            raise from_message("target", str(error).removeprefix("--target ")) from None
        explainer = Explainer(self._predictor, explained)
        rows = Rows([row.id], {kind.name: Column(kind.kind, values[kind.name]) for kind in self.schema.modalities})
        sheet_rows = SheetRows(rows, Sheet("row", {}, np.arange(1), {}), np.arange(1), [])
        explanation = explain_rows(explainer, sheet_rows, "row", 1, "raise", lambda blocks, _: blocks)
        [explained_row] = explanation.rows
        card = draw_row(explained_row, explanation, explainer)
        return {
            "id": row.id,
            "target": explanation.target,
            "explained": card.explained,
            "score": float(explained_row.scores[explained_row.explained]),
            "empty_score": explained_row.empty_score,
            "contributions": explained_row.contributions,
            "without": self._leave_one_out(row, explanation.target, explained_row.explained),
            "panels": [asdict(panel) | {"title": ""} for panel in card.panels],  # files have no names here
            "notes": explanation.notes,
        }

    def _leave_one_out(self, row: ReadRow, target: str, output: int) -> dict[str, float]:
        """Return the explained score without each modality that the row has."""
        missing = find_missing(self.schema, row)
        present = [modality for modality in self.schema.modalities if modality.name not in missing]
        rows = []
        for modality in present:
            left_out = {column.name for column in modality.fields}
            rows.append(row._replace(values={name: row.values[name] for name in row.values.keys() - left_out}))
        values, errors = read_values(self._predictor, self.schema, rows)
        scores, _ = self._predictor.compute(self._decode(rows, values, errors), np.arange(len(rows)))
        return {modality.name: float(scores[target][number, output]) for number, modality in enumerate(present)}


def build_schema(predictor: Predictor) -> Schema:
    """Return what a run reads and predicts.

    Args:
        predictor: of the run.

    Raises:
        ConfigError: the columns of a tabular modality are not known.
    """
    modalities = []
    for name, spec in predictor.modalities.items():
        fields = [_describe_field(predictor, name, spec, column) for column in name_columns(predictor, name, spec)]
        modalities.append(Modality(name, spec["kind"], fields))
    targets = []
    for name, task in predictor.tasks.items():
        targets.append(ServedTarget(name, predictor.record["tasks"][name]["kind"], name_outputs(task)))
    return Schema(predictor.name, modalities, targets)


def _describe_field(predictor: Predictor, modality: str, spec: FittedModality, column: str) -> Field:
    preprocessor = predictor.fitted.preprocessors[modality]
    if spec["kind"] != "tabular" or not isinstance(preprocessor, Cells):
        kind = "text" if spec["kind"] == "tabular" else spec["kind"]
        return Field(column, modality, kind, is_list=isinstance(preprocessor, Items))
    return describe_cell_field(column, modality, preprocessor.state())
