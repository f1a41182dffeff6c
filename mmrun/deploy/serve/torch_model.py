"""A served run in PyTorch."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from mmrun.data.sheets.sheet import Sheet
from mmrun.data.store import MappedColumn
from mmrun.data.table import Column
from mmrun.deploy.explain.explainer import Explainer
from mmrun.deploy.explain.file import explain_rows
from mmrun.deploy.explain.panels import draw_panel
from mmrun.deploy.explain.target import name_outputs, parse_target
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.deploy.rows import SheetRows
from mmrun.deploy.serve.cells import ReadRow
from mmrun.deploy.serve.model import Answer, Errors, Scores, answer_requests, locate_error
from mmrun.deploy.serve.problems import RequestError, from_message
from mmrun.deploy.serve.schema import ServedTarget, build_schema
from mmrun.deploy.serve.values import RawValues, explain_value, read_values
from mmrun.errors import ConfigError


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
        targets = []
        for name, task in predictor.tasks.items():
            targets.append(ServedTarget(name, predictor.record["tasks"][name]["kind"], name_outputs(task)))
        self.schema = build_schema(predictor, targets)

    def predict(self, requests: Sequence[Sequence[ReadRow]]) -> list[list[Answer] | RequestError]:
        """Predict the rows of several requests together; see `ServedModel`."""
        return answer_requests(self._predictor, self.schema, requests, self._score)

    def _score(self, values: RawValues, errors: Errors) -> Scores:
        rows = self._build_rows(values)
        columns = self._decode(rows, values, errors)
        good = [number for number in range(len(rows.ids)) if number not in errors]
        scores, _ = self._predictor.compute(columns, np.array(good, dtype=np.int64))
        by_target = [scores[target.name].tolist() for target in self.schema.targets]
        return dict(zip(good, zip(*by_target, strict=True), strict=True))

    def _decode(self, rows: Rows, values: RawValues, errors: Errors) -> dict[str, MappedColumn]:
        """Return all rows, decoded; add the errors of those that cannot be."""
        columns = self._predictor.decode(rows, np.arange(len(rows.ids)))
        for modality in self.schema.modalities:
            column = columns[modality.name]
            for number, message in zip(column.bad_rows.tolist(), column.bad, strict=True):
                errors.setdefault(number, explain_value(modality, values[modality.name][number], message))
        return columns

    def _build_rows(self, values: RawValues) -> Rows:
        table = {modality.name: Column(modality.kind, values[modality.name]) for modality in self.schema.modalities}
        return Rows([str(number) for number in range(len(next(iter(values.values()))))], table)

    def explain(self, row: ReadRow, target: str | None) -> Answer:
        """Explain the prediction for one row; see `ServedModel`."""
        values, errors = read_values(self._predictor, self.schema, [row])
        rows = self._build_rows(values)
        self._decode(rows, values, errors)
        if errors:
            raise locate_error(errors[0], 0)
        try:
            explained = parse_target(self._predictor.tasks, target)
        except ConfigError as error:
            raise from_message("target", str(error).removeprefix("--target ")) from None
        explainer = Explainer(self._predictor, explained)
        sheet_rows = SheetRows(rows, Sheet("row", {}, np.arange(1), {}), np.arange(1), [])
        explanation = explain_rows(explainer, sheet_rows, "row", 1, "raise", lambda blocks, _: blocks)
        [explained_row] = explanation.rows
        panels = [asdict(draw_panel(modality, explained_row, explainer)) for modality in explained_row.saliency]
        return {
            "id": row.id,
            "target": explanation.target,
            "explained": explanation.outputs[explained_row.explained],
            "score": float(explained_row.scores[explained_row.explained]),
            "empty_score": explained_row.empty_score,
            "contributions": explained_row.contributions,
            "without": explained_row.without,
            "panels": [panel | {"title": ""} for panel in panels],  # files have no names here
            "notes": explanation.notes,
        }
