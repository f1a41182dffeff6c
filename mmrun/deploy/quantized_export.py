"""Quantizes an exported model, compares it with its run, and refuses it if its metric drops."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import torch

from mmrun.deploy.agreement import CheckedRows, Columns, decode, read_split
from mmrun.deploy.graph import Graph
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.quantize import quantize
from mmrun.deploy.quantized_quality import (
    Change,
    Quality,
    find_drop,
    measure_quality,
    measure_sizes,
    measure_speed,
)
from mmrun.deploy.rows import read_rows
from mmrun.deploy.run_models import RunModel, open_onnx
from mmrun.errors import ConfigError, MmrunError, RunError
from mmrun.models.compress.int8 import Quantization

MAX_CALIBRATION_ROWS = 256
MAX_MEASURED_ROWS = 2048
FP32, INT8 = "ONNX fp32", "ONNX int8"


@dataclass(frozen=True)
class QuantizationRequest:
    """What the user wants of the quantized model.

    Attributes:
        quantization: how it is quantized.
        calibration: a file of rows that ranges of activations are read from; None: training rows.
        max_drop: by how much the primary metric of a task may become worse.
    """

    quantization: Quantization
    calibration: Path | None
    max_drop: float


class Milliseconds(TypedDict):
    """How long one row takes.

    Attributes:
        p50: median.
        p99: 99th percentile.
    """

    p50: float
    p99: float


class QuantizationRecord(TypedDict):
    """What quantization.json holds.

    Attributes:
        quantization: mode, scheme and granularity.
        calibration: the rows that ranges were read from; None in dynamic mode.
        rows: what the model was compared on.
        num_rows: how many these are.
        labels: classes and sets of labels that were compared.
        changed_labels: how many of these differ from those of the run.
        tasks: primary metrics of the tasks that the rows have targets of, before and after.
        bytes: of the file in fp32 and in int8.
        milliseconds: that one row takes on this CPU: in eager PyTorch, and in either file.
        threads: that computed it.
    """

    quantization: dict[str, str]
    calibration: str | None
    rows: str
    num_rows: int
    labels: int
    changed_labels: int
    tasks: dict[str, Change]
    bytes: dict[str, int]
    milliseconds: dict[str, Milliseconds]
    threads: int


def replace_by_quantized(
    predictor: Predictor,
    graph: Graph,
    model: Path,
    request: QuantizationRequest,
    rows: CheckedRows | None,
    checked: CheckedRows,
) -> QuantizationRecord:
    """Quantize an ONNX file in place, and compare it with its run.

    Args:
        predictor: of the run.
        graph: that was exported.
        model: the file, in fp32.
        request: how, and what is refused.
        rows: to calibrate on; see `read_calibration`.
        checked: rows to compare on, if possible with targets.

    Raises:
        RunError: the model cannot be quantized, or its metric drops too much.
    """
    calibration = None if rows is None else decode(predictor, rows.rows, MAX_CALIBRATION_ROWS)
    quantized = model.with_name("quantized.onnx")
    quantize(model, quantized, graph, request.quantization, calibration)
    columns = decode(predictor, checked.rows, MAX_MEASURED_ROWS)
    threads = torch.get_num_threads()
    models = {FP32: open_onnx(model, threads), INT8: open_onnx(quantized, threads)}
    quality = measure_quality(predictor, models[INT8], columns, checked.targets)
    _check_drop(quality, request.max_drop, checked)
    record: QuantizationRecord = {
        "quantization": {name: str(value) for name, value in asdict(request.quantization).items()},
        "calibration": None if rows is None or calibration is None else f"{_count_rows(calibration)} {rows.source}",
        "rows": checked.source,
        "num_rows": _count_rows(columns),
        "labels": quality.num_labels,
        "changed_labels": quality.num_changed,
        "tasks": quality.tasks,
        "bytes": measure_sizes({FP32: model, INT8: quantized}),
        "milliseconds": _measure_milliseconds(graph, models, columns),
        "threads": threads,
    }
    quantized.replace(model)
    return record


def read_calibration(predictor: Predictor, request: QuantizationRequest) -> CheckedRows | None:
    """Return the rows that ranges of activations are read from; None in dynamic mode, which needs none.

    Args:
        predictor: of the run.
        request: with a file of rows, or without one: those that the run was trained on.

    Raises:
        ConfigError: there are no rows to calibrate on.
    """
    if request.quantization.mode == "dynamic":
        return None
    if request.calibration is not None:
        return CheckedRows(read_rows(predictor, request.calibration).rows, f"rows of {request.calibration}")
    try:
        return read_split(predictor.config, "train", MAX_CALIBRATION_ROWS)
    except MmrunError as error:
        raise ConfigError(
            f"the training rows are not there ({error}); add --calibrate FILE, or --quantize-mode dynamic"
        ) from None


def _check_drop(quality: Quality, max_drop: float, checked: CheckedRows) -> None:
    """Raise a RunError if a metric drops too much; without targets, if too many labels of real rows change.

    A changed label can make one row wrong, so their share is the largest possible drop in accuracy.
    """
    if quality.tasks:
        name, drop = find_drop(quality.tasks)
        change = quality.tasks[name]
        what = (
            f"{name}: {change['metric']} drops by {drop:.4f} in 8 bits (from {change['before']:.4f} to "
            f"{change['after']:.4f} on {change['rows']} {checked.source})"
        )
    elif checked.note or quality.num_labels == 0:
        return
    else:
        drop = quality.num_changed / quality.num_labels
        what = f"{quality.num_changed} of {quality.num_labels} labels change in 8 bits ({checked.source}, no targets)"
    if drop > max_drop:
        raise RunError(f"{what}, more than --max-drop {max_drop:g}; nothing is written")


def _measure_milliseconds(graph: Graph, models: Mapping[str, RunModel], columns: Columns) -> dict[str, Milliseconds]:
    milliseconds: dict[str, Milliseconds] = {}
    for name, latency in measure_speed(graph, models, columns).items():
        milliseconds[name] = {"p50": 1000 * latency.p50, "p99": 1000 * latency.p99}
    return milliseconds


def _count_rows(columns: Columns) -> int:
    return len(next(iter(columns.values())).present)
