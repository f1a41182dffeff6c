"""Explanations as JSON, with all numbers, written row by row."""

import json
from typing import IO, Any

import numpy as np

from mmrun.deploy.explain.explainer import Saliency
from mmrun.deploy.explain.file import ExplainedRow, FileExplanation
from mmrun.results.files import to_json_value

DIGITS = 6  # of each number


def write_json(explanation: FileExplanation, stream: IO[str]) -> None:
    """Write one JSON object: the summary, the rows, then the notes."""
    metric = explanation.metric
    summary = {
        "run": explanation.run,
        "file": explanation.source,
        "target": explanation.target,
        "outputs": explanation.outputs,
        "rows": explanation.num_rows,
        "metric": None if metric is None else {"name": metric[0], "value": metric[1], "rows": metric[2]},
        "mean_absolute_contributions": explanation.mean_contributions,
        "order": explanation.order,
    }
    stream.write(_to_json(summary)[:-1] + ', "explained": [')
    for number, row in enumerate(explanation.rows):
        stream.write((",\n" if number else "\n") + _to_json(_describe_row(row, explanation.outputs)))
    remarks = {"skipped": explanation.skipped, "notes": explanation.notes}
    stream.write("\n], " + _to_json(remarks)[1:] + "\n")


def _describe_row(row: ExplainedRow, outputs: list[str]) -> dict[str, object]:
    return {
        "id": row.id,
        "prediction": row.prediction,
        "truth": row.truth,
        "scores": dict(zip(outputs, _round(row.scores), strict=True)),
        "explained": outputs[row.explained],
        "empty_score": row.empty_score,
        "contributions": row.contributions,
        "saliency": {modality: _describe_saliency(part) for modality, part in row.saliency.items()},
    }


def _describe_saliency(saliency: Saliency) -> dict[str, object]:
    described: dict[str, object] = {
        "kind": saliency.kind,
        "method": saliency.method,
        "baseline_score": saliency.baseline_score,
        "gap": saliency.gap,
        "shape": list(saliency.values.shape),
        "values": _round(saliency.values),
    }
    if saliency.names:
        described["names"] = saliency.names
    if saliency.spans:
        described["spans"] = saliency.spans
    return described


def _round(values: np.ndarray) -> list[Any]:
    """Return nested lists of numbers with a few digits, so that pictures do not fill the disk."""
    flat = [float(f"{value:.{DIGITS}g}") for value in values.ravel().tolist()]
    rounded: list[Any] = np.array(flat).reshape(values.shape).tolist()
    return rounded


def _to_json(value: object) -> str:
    return json.dumps(to_json_value(value), ensure_ascii=False, allow_nan=False)
