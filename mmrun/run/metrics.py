"""From outputs to figures: what validation monitors, and what metrics.json holds at the end."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mmrun.compose import as_dict
from mmrun.data import split
from mmrun.errors import ConfigError
from mmrun.run.session import Session
from mmrun.tasks.metrics import METRICS, VERSION
from mmrun.training import budget, cost, engine

Metrics = dict[str, float]
TOTALS = ("epochs", "steps", "samples", "seconds", "flops")  # costs that add up over the stages


def metric_name(figure: str, task: str, head: str, num_tasks: int) -> str:
    """Name a figure: accuracy, accuracy/image for a probe, label.accuracy where a run has several tasks."""
    named = figure if num_tasks == 1 else f"{task}.{figure}"
    return f"{named}/{head}" if head else named


def compute_metrics(session: Session, outputs: engine.Outputs, targets: dict[str, Tensor]) -> Metrics:
    """Give every figure of some rows."""
    tasks = session.data.tasks
    figures = {}
    for head, by_task in outputs.items():
        for name, output in by_task.items():
            for figure, value in tasks[name].metrics(_scores(session, name, output), targets[name].numpy()).items():
                figures[metric_name(figure, name, head, len(tasks))] = value
    return figures


def _scores(session: Session, task: str, output: Tensor) -> Any:
    return session.data.tasks[task].scores(output).numpy()


def primary_metrics(session: Session, heads: Iterable[str]) -> list[str]:
    """Give the main figures of some heads: accuracy, or accuracy/image and accuracy/audio."""
    tasks = session.data.tasks
    return [metric_name(task.primary_metric, name, head, len(tasks)) for head in heads for name, task in tasks.items()]


def higher_is_better(figure: str) -> bool:
    """Tell a figure's direction."""
    base = figure.partition("/")[0].rpartition(".")[2]
    if base not in METRICS:
        raise ConfigError(f"'{figure}' is no figure; there are {', '.join(METRICS)}")
    return METRICS[base]


def evaluate(session: Session) -> dict[str, Any]:
    """Open the validation and test rows at the end, keep the predictions, and give all figures."""
    heads = session.heads
    metrics: dict[str, Metrics] = {}
    per_class: dict[str, Any] = {}
    chosen = "fused" if "" in heads else ""
    session.model.eval()
    for name in ("val", "test") if heads else ():
        batches = session.ordered(name, session.columns)
        outputs, targets, rows = engine.predict(session.model, heads, batches, session.accelerator)
        metrics[name] = compute_metrics(session, outputs, targets)
        if not chosen:  # no fused head: the probe that validation prefers speaks for the run
            figures = {head: metrics[name][primary_metrics(session, [head])[0]] for head in heads}
            chosen = f"probe.{max(figures, key=lambda head: figures[head])}"
        main = chosen.removeprefix("probe.") if chosen != "fused" else ""
        metrics[name] |= compute_metrics(session, {"": outputs[main]}, targets)
        per_class[name] = {
            task: session.data.tasks[task].per_class(_scores(session, task, output), targets[task].numpy())
            for task, output in outputs[main].items()
        }
        if session.writes:
            _keep_predictions(session, name, outputs, targets, rows)
    return {"primary_head": chosen or None, "metrics": metrics, "per_class": per_class}


def _keep_predictions(
    session: Session, name: str, outputs: engine.Outputs, targets: dict[str, Tensor], rows: Tensor
) -> None:
    scores = {
        f"{task}/{head}" if head else task: _scores(session, task, output)
        for head, by_task in outputs.items()
        for task, output in by_task.items()
    }
    ids = [session.data.table.ids[row] for row in rows.tolist()]
    session.folder.write_predictions(name, ids, {task: target.numpy() for task, target in targets.items()}, scores)


def summary(session: Session, costs: dict[str, dict[str, Any]], evaluation: dict[str, Any]) -> dict[str, Any]:
    """Give what metrics.json holds."""
    config, data = session.config, session.data
    unit, amount = budget.chosen(config.budget)
    total: dict[str, Any] = {key: sum(stage[key] for stage in costs.values()) for key in TOTALS}
    total["peak_memory"] = max(stage["peak_memory"] for stage in costs.values())
    total["trainable_parameters"] = cost.count([p for n, p in session.model.named_parameters() if n in session.learned])
    total["total_parameters"] = cost.count(list(session.model.parameters()))
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
            "split": split.fingerprint(data.table.split),
            "rows": {"train": len(data.rows["all"])} | {name: len(data.rows[name]) for name in ("val", "test")},
            "labelled": config.dataset["labelled"],
            "skipped": len(data.table.skipped),
        },
        **evaluation,
        "cost": {**total, "stages": costs},
    }


def monitored(figures: Metrics, names: list[str], key_path: str) -> float:
    """Give the mean of the monitored figures."""
    for name in names:
        if name not in figures:
            raise ConfigError(f"{key_path}.monitor: no figure '{name}' (there are {', '.join(sorted(figures))})")
    return float(torch.tensor([figures[name] for name in names], dtype=torch.float64).mean())
