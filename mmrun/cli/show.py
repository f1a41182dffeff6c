"""mmrun show: one run on a screen."""

import argparse
import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from mmrun.cli.arguments import add_run, add_table_format
from mmrun.cli.output import echo
from mmrun.cli.table import Table, format_count, format_duration, format_number, format_size, print_table
from mmrun.results.environment import compare_starts
from mmrun.results.folder import RunFolder
from mmrun.results.index import determine_status, resolve
from mmrun.results.selection import format_value

if TYPE_CHECKING:
    from mmrun.training.stage_cost import StageCost

HELP = "Show one run: its overrides, status, metrics and cost."

COST_HEADER = ["stage", "objective", "epochs", "steps", "samples", "time", "FLOPs", "memory", "learned", "of"]

Metrics = Mapping[str, float | None]  # by name


class RunInfo(TypedDict):
    """What is known of a run before it is finished.

    Attributes:
        run: its name.
        status: state, stage, progress and message.
        choices: YAML file by key.
        overrides: as typed.
        budget: by unit, those that are set.
        seed: of the run.
        paths: existing files and folders by name; the run folder is the first.
        changed_environment: what differed between the starts of the run: its value at each start, by property.
    """

    run: str
    status: Mapping[str, Any]
    choices: dict[str, str]
    overrides: list[str]
    budget: dict[str, float]
    seed: int
    paths: dict[str, str]
    changed_environment: dict[str, list[object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments.

    Args:
        parser: of this verb.
    """
    add_run(parser)
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the run.

    Returns:
        The exit code, 0.
    """
    folder = resolve(args.run)
    info = _read_info(folder)
    metrics = folder.read_metrics() if folder.finished else None
    if args.format == "json":
        echo(json.dumps({**info, "metrics": metrics}, indent=1))
        return 0
    _print_info(info)
    if metrics is not None:
        if metrics["metrics"]:  # a run that only pre-trains has none
            _print_metrics(metrics["metrics"])
        if "test" in metrics["per_class"]:
            _print_per_class(metrics["per_class"]["test"])
        _print_cost(metrics["cost"])
    return 0


def _read_info(folder: RunFolder) -> RunInfo:
    config = folder.read_config()
    files = (folder.config_file, folder.environment_file, folder.data_file, folder.log_file, folder.metrics_file)
    paths = (folder.path, *files, folder.predictions, folder.checkpoints)
    return {
        "run": folder.name,
        "status": determine_status(folder),
        "choices": config["choices"],
        "overrides": folder.read_overrides(),
        "budget": {unit: value for unit, value in config["budget"].items() if value is not None},
        "seed": config["seed"],
        "paths": {path.name: str(path) for path in paths if path.exists()},
        "changed_environment": compare_starts(folder.read_starts()),
    }


def _print_info(info: RunInfo) -> None:
    state, paths = info["status"], dict(info["paths"])
    position = "" if state["status"] == "finished" else f" at {state['stage'] or 'start'}, {state['progress']:.0%} done"
    message = f": {state['message']}" if state["message"] else ""
    choices = " ".join(f"{key}={name}" for key, name in info["choices"].items())
    budget = " ".join(f"budget.{unit}={value:g}" for unit, value in info["budget"].items())
    echo(f"{info['run']}: {state['status']}{position}{message}")
    echo(f"  overrides  {shlex.join(info['overrides']) or 'none'}")
    echo(f"  choices    {choices}")
    echo(f"  budget     {budget or 'default'}, seed={info['seed']}")
    for name, values in info["changed_environment"].items():
        echo(f"  {name} changed when the run was resumed: {' -> '.join(map(format_value, values))}")
    echo(f"  folder     {paths.pop(info['run'])}: {' '.join(paths)}")


def _print_metrics(metrics: Mapping[str, Metrics]) -> None:
    """Print the metrics, a column per split."""
    names = sorted(set().union(*metrics.values()))
    rows = []
    for name in names:
        rows.append([name, *(format_number(of_split.get(name)) for of_split in metrics.values())])
    echo()
    print_table(Table("", ["metric", *metrics], rows))


def _print_per_class(per_class: Mapping[str, Mapping[str, Metrics]]) -> None:
    """Print a table per task, with a row per class."""
    for task, classes in per_class.items():
        names = list(next(iter(classes.values())))
        rows = []
        for label, metrics in classes.items():
            rows.append([label, *(format_number(metrics.get(name)) for name in names)])
        echo()
        print_table(Table("", [f"{task} (test)", *names], rows))


def _print_cost(cost: Mapping[str, Any]) -> None:
    rows = [_format_cost(name, stage) for name, stage in cost["stages"].items()]
    total: Any = {**cost, "objective": "", "reused": False}
    rows.append(_format_cost("all", total))
    echo()
    print_table(Table("", COST_HEADER, rows, 2))


def _format_cost(name: str, cost: "StageCost") -> list[str]:
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
