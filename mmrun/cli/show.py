"""`mmrun show`: one run on a screen."""

import argparse
import json
import shlex
from collections.abc import Mapping
from typing import Any

from mmrun.cli.table import format_count, format_duration, format_number, format_size, print_table
from mmrun.results.folder import RunFolder
from mmrun.results.index import determine_status, resolve
from mmrun.results.schema import MetricValues, RunCost

HELP = "Show one run: what was asked for, where it stands, what came out and what it cost."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", help="its folder, or enough of its name or hash to be the only one below outputs")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(args: argparse.Namespace) -> int:
    """Print the run."""
    shown = resolve(args.run)
    metrics = shown.read_metrics() if shown.finished else None
    if args.format == "json":
        print(json.dumps({**_head(shown), "metrics": metrics}, indent=1))
        return 0
    _print_head(_head(shown))
    if metrics is not None:
        if metrics["metrics"]:  # a run that only pre-trains has none
            _print_metrics(metrics["metrics"])
        if "test" in metrics["per_class"]:
            _print_per_class(metrics["per_class"]["test"])
        _print_cost(metrics["cost"])
    return 0


def _head(run: RunFolder) -> dict[str, Any]:
    config = run.read_config()
    files = (run.config_file, run.environment_file, run.log_file, run.metrics_file)
    folders = (run.predictions, run.checkpoints)
    return {
        "run": run.name,
        "status": determine_status(run),
        "choices": config["choices"],
        "overrides": run.read_overrides(),
        "budget": {unit: value for unit, value in config["budget"].items() if value is not None},
        "seed": config["seed"],
        "paths": {path.name: str(path) for path in (run.path, *files, *folders) if path.exists()},
    }


def _print_head(head: dict[str, Any]) -> None:
    said, paths = head["status"], dict(head["paths"])
    at = "" if said["status"] == "finished" else f" at {said['stage'] or 'start'}, {said['progress']:.0%} done"
    budget = " ".join(f"budget.{unit}={value:g}" for unit, value in head["budget"].items())
    print(f"{head['run']}: {said['status']}{at}{': ' + said['message'] if said['message'] else ''}")
    print(f"  asked for  {shlex.join(head['overrides']) or 'the defaults'}")
    print(f"  choices    {' '.join(f'{key}={name}' for key, name in head['choices'].items())}")
    print(f"  budget     {budget or 'default'}, seed={head['seed']}")
    print(f"  folder     {paths.pop(head['run'])}: {' '.join(paths)}")


def _print_metrics(metrics: dict[str, MetricValues]) -> None:
    names = sorted({name for figures in metrics.values() for name in figures})
    rows = [[name, *(format_number(figures.get(name)) for figures in metrics.values())] for name in names]
    print()
    print_table(["metric", *metrics], rows)


def _print_per_class(per_class: dict[str, dict[str, MetricValues]]) -> None:
    for task, classes in per_class.items():
        names = list(next(iter(classes.values())))
        rows = [[label, *(format_number(figures[name]) for name in names)] for label, figures in classes.items()]
        print()
        print_table([f"{task} (test)", *names], rows)


def _print_cost(cost: RunCost) -> None:
    header = ["stage", "objective", "epochs", "steps", "samples", "time", "FLOPs", "memory", "learned", "of"]
    stages: dict[str, Mapping[str, Any]] = {**cost["stages"], "all": {**cost, "objective": "", "reused": False}}
    print()
    print_table(header, [_cost_cells(name, stage) for name, stage in stages.items()], left=2)


def _cost_cells(name: str, cost: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} (reused)" if cost["reused"] else name,
        cost["objective"],
        f"{cost['epochs']:.3g}",
        format_count(cost["steps"]),
        format_count(cost["samples"]),
        format_duration(cost["seconds"]),
        format_count(cost["flops"]),
        format_size(cost["peak_memory"]),
        format_count(cost["trainable_parameters"]),
        format_count(cost["total_parameters"]),
    ]
