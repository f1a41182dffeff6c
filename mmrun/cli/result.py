"""What is printed when runs have ended: metrics and costs on stdout, and the commands to go on with on stderr."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmrun.cli.launch import SweepRun, format_command
from mmrun.cli.output import echo, is_first_process, is_quiet
from mmrun.cli.table import print_table, print_text
from mmrun.results.folder import RunFolder
from mmrun.results.formatting import format_count, format_duration, format_number, pluralize
from mmrun.results.index import OUTPUTS, find_primary_metric, is_lower_better
from mmrun.results.run_values import lookup_values
from mmrun.results.schema import RunCost, RunMetrics
from mmrun.results.table import Style, Table
from mmrun.training.stage_cost import StageCost

# ------------------------------------------------------------------------------------------------------------ one run


def print_result(folder: RunFolder) -> None:
    """Print the metrics of a finished run, the cost of each stage, and last its folder; then what may come next."""
    if not is_first_process():
        return
    metrics = folder.read_metrics()
    tables = [_build_metrics_table(metrics), *_build_presence_tables(metrics), _build_cost_table(metrics)]
    for table in tables:
        print_table(table)
        echo()
    echo(folder.path)
    print_next_commands(suggest_after_run(folder, metrics))


def suggest_after_run(folder: RunFolder, metrics: RunMetrics) -> list[list[str]]:
    """Return commands that show more of a finished run.

    Args:
        folder: of the run.
        metrics: what its metrics.json holds.

    Returns:
        The arguments of each command.
    """
    run = _shortest_name(folder)
    commands = [["mmrun", "show", run]]
    if find_primary_metric(metrics)[0] is not None and len(metrics["config"]["encoder"]) > 1:
        commands.append(["mmrun", "eval", run])
    return commands


def print_next_commands(commands: Sequence[Sequence[str]]) -> None:
    """Print commands that the user may type next to stderr, unless `--quiet` is given.

    Args:
        commands: the arguments of each.
    """
    if not is_quiet():
        for index, command in enumerate(commands):
            echo(f"{'next:' if index == 0 else '     '} {shlex.join(command)}", file=sys.stderr)


def _shortest_name(folder: RunFolder) -> str:
    """Return what names a run on the shell: its name where that is enough to find it, else its path."""
    matches = list(OUTPUTS.glob(f"*/{folder.name}"))
    return folder.name if matches == [Path(os.path.relpath(folder.path))] else str(folder.path)


def _build_metrics_table(run: RunMetrics) -> Table:
    metrics = run["metrics"]
    rows = []
    for name in next(iter(metrics.values()), {}):
        rows.append([name, *(format_number(split_metrics.get(name)) for split_metrics in metrics.values())])
    return Table("", ["metric", *metrics], rows)


def _build_presence_tables(run: RunMetrics) -> list[Table]:
    """Show the primary metric by the modalities that rows have; no table where all test rows have the same ones."""
    metric, patterns = find_primary_metric(run)[0], run.get("by_presence", {}).get("test", [])
    if metric is None or not patterns:
        return []
    rows = []
    for pattern in patterns:
        value = format_number(pattern["metrics"].get(metric))
        rows.append([" ".join(pattern["present"]), f"{pattern['rows']:,}", value])
    return [Table("", ["test rows with", "rows", metric], rows)]


def _build_cost_table(run: RunMetrics) -> Table:
    cost = run["cost"]
    rows = [_format_cost(name, stage) for name, stage in cost["stages"].items()]
    if len(rows) != 1:
        rows.append(_format_cost("all", cost))
    return Table("", ["stage", "epochs", "steps", "samples", "time", "FLOPs", "trainable"], rows)


def _format_cost(name: str, cost: StageCost | RunCost) -> list[str]:
    return [
        name,
        f"{cost['epochs']:.3g}",
        f"{cost['steps']:,}",
        f"{cost['samples']:,}",
        format_duration(cost["seconds"]),
        format_count(cost["flops"]),
        format_count(cost["trainable_parameters"]),
    ]


# ------------------------------------------------------------------------------------------------------------ a sweep


def print_sweep_result(sweep_runs: Sequence[SweepRun], failures: Mapping[Path, str]) -> None:
    """Print the overrides that vary and the primary metric of each run; then why runs failed, and what may come next.

    Args:
        sweep_runs: all runs, in order.
        failures: why a run is not finished, by its folder.
    """
    if not is_first_process():
        return
    print_table(build_sweep_table(sweep_runs))
    for sweep_run in sweep_runs:
        path = sweep_run.folder.path
        if path in failures:
            echo()
            print_text(f"{path}: {failures[path]}")
            echo(f"  repeat it: {format_command(sweep_run.overrides)}")
    echo()
    echo(f"{len(sweep_runs) - len(failures)} of {pluralize(len(sweep_runs), 'run')} finished")
    print_next_commands(suggest_after_sweep(sweep_runs))


def build_sweep_table(sweep_runs: Sequence[SweepRun]) -> Table:
    """Build a table of the overrides that vary in a sweep, and what came of each run.

    Args:
        sweep_runs: all runs, in order.
    """
    keys = find_varying_keys([sweep_run.overrides for sweep_run in sweep_runs])
    runs = [run.folder.read_metrics() if run.folder.finished else None for run in sweep_runs]
    metric = next((name for name in map(_primary_metric, runs) if name is not None), None)
    values = [None if run is None else run["metrics"].get("test", {}).get(metric or "") for run in runs]
    best = _find_best(values, metric)
    rows, styles = [], dict[tuple[int, int], Style]()
    for number, (sweep_run, run, value) in enumerate(zip(sweep_runs, runs, values, strict=True)):
        settings = _split_overrides(sweep_run.overrides)
        result = "not finished" if run is None else ("* " if value == best else "") + format_number(value)
        seconds = None if run is None else run["cost"]["seconds"]
        cells = [settings.get(key, "-") for key in keys]
        rows.append([*cells, result, format_duration(seconds), sweep_run.folder.name])
        if run is None or value == best:
            styles[number, len(keys)] = "failed" if run is None else "best"
    header = [*keys, "result" if metric is None else f"test/{metric}", "time", "run"]
    return Table("", header, rows, left=len(keys), details=(len(header) - 1,), styles=styles)


def find_varying_keys(runs: Sequence[Sequence[str]]) -> list[str]:
    """Return the keys of overrides that do not have the same value in all runs of a sweep.

    Args:
        runs: the overrides of each.

    Returns:
        The keys in the order in which they were typed; all keys for a single run.
    """
    settings = [_split_overrides(overrides) for overrides in runs]
    keys = dict.fromkeys(key for run in settings for key in run)
    varying = [key for key in keys if len({run.get(key) for run in settings}) > 1]
    return varying or list(keys)[:1]


def suggest_after_sweep(sweep_runs: Sequence[SweepRun]) -> list[list[str]]:
    """Return the command that compares the finished runs of a sweep by what varies.

    Args:
        sweep_runs: all runs.

    Returns:
        The arguments of each command; that for a single run if only one is finished.
    """
    finished = [sweep_run for sweep_run in sweep_runs if sweep_run.folder.finished]
    runs = [sweep_run.folder.read_metrics() for sweep_run in finished]
    metric = next((name for name in map(_primary_metric, runs) if name is not None), None)
    if len(runs) == 1:
        return suggest_after_run(finished[0].folder, runs[0])
    if not runs or metric is None:
        return []
    keys = [key.replace("/", ".") for key in find_varying_keys([sweep_run.overrides for sweep_run in finished])]
    repeats = [key for key in keys if key.endswith("seed") or key == "dataset.fold"]
    groups = [key for key in keys if key not in repeats and len({lookup_values(run, [key]) for run in runs}) > 1]
    outputs = os.path.commonpath([sweep_run.folder.path.parent for sweep_run in finished])
    command = ["mmrun", "compare", outputs, "--by", ",".join(groups or ["strategy"])]
    if groups:
        command += ["--against", lookup_values(runs[0], groups)[0]]
        command += ["--paired", ",".join(repeats)] if repeats else []
    return [[*command, *([] if metric == "accuracy" else ["--metric", f"test/{metric}"])]]


def _split_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """Return the values of overrides by key: strategy, encoder.image, optimizer.lr ..."""
    settings = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        settings[key.lstrip("+~").rpartition("@")[2]] = value if equals else "removed"
    return settings


def _primary_metric(run: RunMetrics | None) -> str | None:
    return None if run is None else find_primary_metric(run)[0]


def _find_best(values: Sequence[float | None], metric: str | None) -> float | None:
    numbers = [value for value in values if value is not None]
    if metric is None or len(numbers) < 2:
        return None
    return min(numbers) if is_lower_better(metric) else max(numbers)
