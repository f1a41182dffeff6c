"""What quantization costs and gains: metrics, labels, file size, and the latency of one row."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch

from mmrun.deploy.agreement import Case, Columns, compare_labels, gather_inputs, predict, run_batches
from mmrun.deploy.graph import SCORES, Graph
from mmrun.deploy.labelled import find_visible
from mmrun.deploy.latency import Latency, measure_latencies
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.run_models import RunModel
from mmrun.errors import DataError
from mmrun.known_metrics import is_higher_better
from mmrun.results.statistics import LEVEL
from mmrun.types import Task

BATCH_SIZE = 32
NUM_RESAMPLES = 200  # of the rows, for the interval of a difference


class Change(TypedDict):
    """The primary metric of a task, before and after quantization.

    Attributes:
        metric: its name.
        rows: with a target.
        before: of the run.
        after: of the quantized model.
        difference: after less before.
        low: lower end of its 95 % interval, a bootstrap over the rows; None where it is not defined.
        high: its upper end.
    """

    metric: str
    rows: int
    before: float
    after: float
    difference: float
    low: float | None
    high: float | None


class Quality(NamedTuple):
    """A quantized model beside its run.

    Attributes:
        tasks: of the rows that have a target, by task.
        num_labels: predicted classes and sets of labels that were compared.
        num_changed: how many of these differ from those of the run.
    """

    tasks: dict[str, Change]
    num_labels: int
    num_changed: int


def measure_quality(
    predictor: Predictor, quantized: RunModel, columns: Columns, targets: Mapping[str, np.ndarray]
) -> Quality:
    """Predict rows with a run and with its quantized model.

    Args:
        predictor: of the run.
        quantized: the model.
        columns: decoded rows.
        targets: by task, of at least these rows; a task may have none.

    Raises:
        DataError: the quantized model predicts something that is no number.
    """
    num_rows = len(next(iter(columns.values())).present)
    case = Case("in batches", columns, num_rows, BATCH_SIZE)
    before, after = predict(predictor, case), run_batches(quantized, case)
    changes: dict[str, Change] = {}
    num_labels = num_changed = 0
    for name, task in predictor.tasks.items():
        old, new = before[f"{SCORES}.{name}"], after[f"{SCORES}.{name}"]
        if not np.isfinite(new).all():
            raise DataError(f"the quantized model predicts numbers of '{name}' that are infinite or NaN")
        is_equal = compare_labels(task, new, old)
        num_labels += len(is_equal)
        num_changed += int((~is_equal).sum())
        if name in targets:
            change = measure_change(task, old, new, targets[name][:num_rows])
            changes |= {} if change is None else {name: change}
    return Quality(changes, num_labels, num_changed)


def measure_change(task: Task, before: np.ndarray, after: np.ndarray, target: np.ndarray) -> Change | None:
    """Compare the primary metric of two predictions of the same rows.

    Args:
        task: that was predicted.
        before: scores [N, C].
        after: scores [N, C].
        target: [N] or [N, C]; hidden ones are IGNORE_INDEX or NaN.

    Returns:
        None if no row has a target, or the metric is not defined for them.
    """
    visible = find_visible(task, target)
    before, after, target = before[visible], after[visible], target[visible]
    name = task.primary_metric

    def compute(scores: np.ndarray, rows: np.ndarray) -> float:
        return task.metrics(scores[rows], target[rows]).get(name, np.nan) if len(rows) else np.nan

    everything = np.arange(len(target))
    old, new = compute(before, everything), compute(after, everything)
    if np.isnan(old) or np.isnan(new):
        return None
    low, high = _bootstrap(lambda rows: compute(after, rows) - compute(before, rows), len(target))
    return {
        "metric": name,
        "rows": len(target),
        "before": float(old),
        "after": float(new),
        "difference": float(new - old),
        "low": low,
        "high": high,
    }


def _bootstrap(measure: Callable[[np.ndarray], float], num_rows: int) -> tuple[float | None, float | None]:
    """Return the 95 % interval of what is measured on resampled rows, by percentiles (Efron, 1979)."""
    generator = np.random.default_rng(0)
    values = [measure(generator.integers(0, num_rows, num_rows)) for _ in range(NUM_RESAMPLES)]
    defined = np.array(values)[np.isfinite(values)]
    if len(defined) == 0:
        return None, None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def find_drop(changes: Mapping[str, Change]) -> tuple[str, float]:
    """Return the task whose primary metric becomes worse by most, and by how much; below 0 if all become better."""
    drops = {}
    for name, change in changes.items():
        drops[name] = -change["difference"] if is_higher_better(change["metric"]) else change["difference"]
    worst = max(drops, key=lambda name: drops[name])
    return worst, round(drops[worst], 9)  # 0.83 - 0.82 is 0.01


def measure_sizes(files: Mapping[str, Path]) -> dict[str, int]:
    """Return the bytes of models with weights that lie in files of their own."""
    sizes = {}
    for name, file in files.items():
        weights = file.with_name(f"{file.name}.data")  # of a model beyond 2 GB
        sizes[name] = file.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
    return sizes


def measure_speed(graph: Graph, models: Mapping[str, RunModel], columns: Columns) -> dict[str, Latency]:
    """Time one row in eager PyTorch and in exported models, in turns.

    Args:
        graph: of the run.
        models: exported, by name.
        columns: decoded rows; the first is predicted.

    Returns:
        By name; that of PyTorch is "PyTorch".
    """
    inputs = gather_inputs(columns, torch.arange(1))
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}

    def run_eager() -> object:
        with torch.inference_mode():
            return graph(inputs)

    def bind(run_model: RunModel) -> Callable[[], object]:
        return lambda: run_model(arrays)

    calls: dict[str, Callable[[], object]] = {"PyTorch": run_eager}
    calls |= {name: bind(run_model) for name, run_model in models.items()}
    return measure_latencies(calls)
