"""From outputs to metrics: what validation monitors, and what metrics.json holds at the end."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmrun.compose import as_dict
from mmrun.data import split
from mmrun.data.presence import list_patterns, measure_missing
from mmrun.errors import ConfigError
from mmrun.head import FUSED, Head, metric_name
from mmrun.known_metrics import METRICS, is_higher_better, strip_metric
from mmrun.results.predictions import write_predictions
from mmrun.results.schema import PresenceMetrics
from mmrun.run.session import Session
from mmrun.tasks.metrics import VERSION
from mmrun.training import budget, engine
from mmrun.training.cost import count_parameters
from mmrun.training.stage_cost import StageCost

Metrics = dict[str, float]

SUMMED = ("epochs", "steps", "samples", "seconds", "flops")  # costs that add up over the stages


def compute_metrics(
    session: Session, outputs: engine.Outputs, targets: Mapping[str, Tensor], quick: bool = False
) -> Metrics:
    """Return the metrics of some rows.

    Args:
        session: its tasks compute the metrics.
        outputs: by head and task, [N, C].
        targets: by task, [N] or [N, C].
        quick: only those that take little time.
    """
    tasks = session.data.tasks
    metrics: Metrics = {}
    for head, by_task in outputs.items():
        for name, output in by_task.items():
            compute = tasks[name].quick_metrics if quick else tasks[name].metrics
            for metric, value in compute(_scores(session, name, output), targets[name].numpy()).items():
                metrics[metric_name(metric, name, head, len(tasks))] = value
    return metrics


def _scores(session: Session, task: str, output: Tensor) -> np.ndarray:
    scores: np.ndarray = session.data.tasks[task].scores(output).numpy()
    return scores


def primary_metrics(session: Session, heads: Iterable[Head]) -> list[str]:
    """Return the primary metrics of some heads: accuracy, or accuracy/image and accuracy/audio.

    Args:
        session: the run.
        heads: whose metrics to name.
    """
    tasks = session.data.tasks
    names = []
    for head in heads:
        names += [metric_name(task.primary_metric, name, head, len(tasks)) for name, task in tasks.items()]
    return names


def higher_is_better(metric: str) -> bool:
    """Return the direction of a metric, by its name in a run.

    Raises:
        ConfigError: there is no such metric.
    """
    direction = is_higher_better(strip_metric(metric))
    if direction is None:
        raise ConfigError(f"no metric '{metric}' (there are {', '.join(METRICS)})")
    return direction


def monitored_value(metrics: Metrics, names: list[str], key_path: str) -> float:
    """Return the mean of the monitored metrics.

    Raises:
        ConfigError: a metric is not among them.
    """
    for name in names:
        if name not in metrics:
            raise ConfigError(f"{key_path}.monitor: no metric '{name}' (there are {', '.join(sorted(metrics))})")
    return float(torch.tensor([metrics[name] for name in names], dtype=torch.float64).mean())


def evaluate(session: Session) -> dict[str, Any]:
    """Evaluate the validation and test rows at the end of a run, and store the predictions.

    Returns:
        `primary_head`, `metrics`, `per_class` and `by_presence` of metrics.json.
    """
    heads = session.heads
    metrics: dict[str, Metrics] = {}
    per_class: dict[str, Any] = {}
    by_presence: dict[str, list[PresenceMetrics]] = {}
    primary_head = FUSED if FUSED in heads else None
    session.model.eval()
    for name in ("val", "test") if heads else ():
        batches = session.ordered(name, session.columns)
        outputs, targets, rows = engine.predict(session.model, heads, batches, session.accelerator)
        metrics[name] = compute_metrics(session, outputs, targets)
        if primary_head is None:  # there is no fused head: the probe that is best on validation represents the run
            values = {head: metrics[name][primary_metrics(session, [head])[0]] for head in heads}
            primary_head = max(values, key=lambda head: values[head])
        metrics[name] |= compute_metrics(session, {FUSED: outputs[primary_head]}, targets)  # under the plain names
        patterns = _evaluate_patterns(session, outputs[primary_head], targets, rows)
        by_presence |= {name: patterns} if len(patterns) > 1 else {}
        per_class[name] = {}
        for task, output in outputs[primary_head].items():
            scores = _scores(session, task, output)
            per_class[name][task] = session.data.tasks[task].per_class(scores, targets[task].numpy())
        if session.is_writer:
            _store_predictions(session, name, outputs, targets, rows)
    return {
        "primary_head": None if primary_head is None else primary_head.name,
        "metrics": metrics,
        "per_class": per_class,
        "by_presence": by_presence,
    }


def _evaluate_patterns(
    session: Session, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], rows: Tensor
) -> list[PresenceMetrics]:
    """Evaluate the rows that have the same modalities, the most frequent pattern first."""
    present = {modality: column.present[rows].numpy() for modality, column in session.columns.items()}
    evaluated: list[PresenceMetrics] = []
    for pattern in list_patterns(present):
        pattern_outputs = {FUSED: {task: output[pattern.places] for task, output in outputs.items()}}
        metrics = compute_metrics(
            session, pattern_outputs, {task: target[pattern.places] for task, target in targets.items()}
        )
        evaluated.append({"present": pattern.modalities, "rows": len(pattern.places), "metrics": dict(metrics)})
    return evaluated


def _store_predictions(
    session: Session, split_name: str, outputs: engine.Outputs, targets: Mapping[str, Tensor], rows: Tensor
) -> None:
    scores = {}
    for head, by_task in outputs.items():
        for task, output in by_task.items():
            scores[head.qualify(task)] = _scores(session, task, output)
    ids = [session.data.table.ids[row] for row in rows.tolist()]
    target_arrays = {task: target.numpy() for task, target in targets.items()}
    write_predictions(session.folder, split_name, ids, target_arrays, scores)


def summarize(session: Session, costs: dict[str, StageCost], evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return what metrics.json holds.

    Args:
        session: the finished run.
        costs: by stage.
        evaluation: what `evaluate` returned.
    """
    config, data = session.config, session.data
    unit, amount = budget.budget_unit(config.budget)
    parameters = dict(session.model.named_parameters())
    split_rows = {"train": data.rows["all"]} | {name: data.rows[name] for name in ("val", "test")}
    present = {modality: column.present.numpy() for modality, column in session.columns.items()}
    total: dict[str, Any] = {key: sum(stage[key] for stage in costs.values()) for key in SUMMED}  # type: ignore[literal-required]
    total["peak_memory"] = max(stage["peak_memory"] for stage in costs.values())
    total["trainable_parameters"] = count_parameters(parameters[name] for name in session.trainable)
    total["total_parameters"] = count_parameters(parameters.values())
    return {
        "metric_version": VERSION,
        "run": session.folder.name,
        "seed": config.seed,
        "choices": config.choices,
        "config": as_dict(config),
        "budget": {unit: amount},
        "dataset": {
            "name": config.choices["dataset"],
            "fingerprint": data.table.fingerprint,
            "split": split.hash_split(data.table.split),
            "rows": {name: len(rows) for name, rows in split_rows.items()},
            "labelled": config.dataset["labelled"],
            "labelled_rows": len(data.rows["labelled"]),
            "skipped": len(data.table.skipped),
            "missing": measure_missing(present, split_rows),
        },
        **evaluation,
        "cost": {**total, "stages": costs},
    }
