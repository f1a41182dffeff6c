"""mmrun show: one run on a screen."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_run, add_table_format
from mmrun.cli.braille import draw_curve
from mmrun.cli.table import print_note
from mmrun.errors import ConfigError, DamagedError
from mmrun.results.environment import compare_starts
from mmrun.results.folder import RunFolder
from mmrun.results.formatting import format_count, format_duration, format_metric, format_number, format_size
from mmrun.results.index import FAILED, determine_status, find_primary_metric, resolve
from mmrun.results.inference_table import build_inference_table
from mmrun.results.listing import list_tags
from mmrun.results.run_log import Curves
from mmrun.results.run_values import flatten, format_value
from mmrun.results.schema import CompressionRecord, RunMetrics
from mmrun.results.table import Style, Table

if TYPE_CHECKING:
    from mmrun.training.stage_cost import StageCost

HELP = "Show one run: its overrides, status, metrics, learning curves and cost."

COST_HEADER = ["stage", "objective", "epochs", "steps", "samples", "time", "FLOPs", "memory", "trainable", "total"]
COST_DETAILS = tuple(COST_HEADER.index(name) for name in ("samples", "FLOPs", "memory", "total"))
CURVE_SIZE = 24, 2  # columns and lines
FIRST_CHOICES = ("dataset", "model", "encoder", "fusion", "strategy")  # the others follow

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
        tags: of the user.
        note: of the user.
        paths: existing files and folders by name; the run folder is the first.
        changed_environment: what differed between the starts of the run: its value at each start, by property.
        compression: of a run that was compressed: from which run, by which steps.
    """

    run: str
    status: Mapping[str, Any]
    choices: dict[str, str]
    overrides: list[str]
    budget: dict[str, float]
    seed: int
    tags: list[str]
    note: str | None
    paths: dict[str, str]
    changed_environment: dict[str, list[object]]
    compression: CompressionRecord | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="DIR",
        help="instead draw the finished run, as PNG and SVG files in this folder: ROC and precision-recall curves, "
        "confusion matrices, calibration, predicted over true values, and the learning curves of each stage",
    )
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the run."""
    folder = resolve(args.run)
    if args.plots is not None:
        print_answer(_save_plots(folder, args.plots), args.format)
        return 0
    info = _read_info(folder)
    metrics = folder.read_metrics() if folder.finished else None
    parts: list[Table | str] = [_build_overview(info), _build_choices(info["choices"])]
    if metrics is not None:
        parts += _build_metrics(metrics)
    if args.format == "table":  # in Markdown, a cell is one line
        parts += _build_curves(folder, metrics)
    if metrics is not None:
        parts.append(_build_costs(metrics["cost"], info["choices"]))
        if "inference" in metrics:
            parts.append(build_inference_table(metrics["inference"]))
    document = {**info, "metrics": metrics}
    records = [{"key": key, "value": value} for key, value in flatten(document)]
    print_answer(Answer(parts, document, records), args.format)
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
        "tags": list(list_tags(config.get("tag"))),
        "note": folder.read_note(config),
        "paths": {path.name: str(path) for path in paths if path.exists()},
        "changed_environment": compare_starts(folder.read_starts()),
        "compression": folder.read_compression(),
    }


def _build_overview(info: RunInfo) -> Table:
    """Show what the run is, and where."""
    state, paths = info["status"], dict(info["paths"])
    position = "" if state["status"] == "finished" else f" at {state['stage'] or 'start'}, {state['progress']:.0%} done"
    message = f": {state['message']}" if state["message"] else ""
    budget = " ".join(f"budget.{unit}={value:g}" for unit, value in info["budget"].items())
    rows = [
        ["status", f"{state['status']}{position}{message}"],
        ["overrides", shlex.join(info["overrides"]) or "none"],
        ["budget", f"{budget or 'default'}, seed={info['seed']}"],
    ]
    if info["compression"] is not None:
        rows.append(["compressed", _describe_compression(info["compression"])])
    if info["tags"]:
        rows.append(["tags", ", ".join(info["tags"])])
    if info["note"]:
        rows.append(["note", info["note"]])
    for name, values in info["changed_environment"].items():
        rows.append([name, f"changed when the run was resumed: {' -> '.join(map(format_value, values))}"])
    rows.append(["folder", f"{paths.pop(info['run'])}: {' '.join(paths)}"])
    styles: dict[tuple[int, int], Style] = {(0, 1): "failed"} if state["status"] in FAILED else {}
    return Table("", ["run", info["run"]], rows, 2, styles=styles)


def _describe_compression(record: CompressionRecord) -> str:
    """Return where a compressed run comes from."""
    steps = " ".join(f"{step['method']}={step['amount']:g}" for step in record["steps"])
    importance = ", importance taylor" if record["importance"] == "taylor" else ""
    epochs = f", fine-tuned for {record['finetune_epochs']:g} epochs" if record["finetune_epochs"] else ""
    student = f"student with {' '.join(record['student'])}" if "student" in record else ""
    parts = [student, f"{steps}{importance}{epochs}", record.get("quantization", "")]
    return f"from {record['run']}: {', '.join(filter(None, parts))}"


def _build_choices(choices: Mapping[str, str]) -> Table:
    """Show the chosen YAML files, the data set and the model first."""

    def order(key: str) -> tuple[int, str]:
        group = key.split(".")[0]
        return (FIRST_CHOICES.index(group) if group in FIRST_CHOICES else len(FIRST_CHOICES), key)

    return Table("", ["choice", "option"], [[key, choices[key]] for key in sorted(choices, key=order)], 2)


def _build_metrics(metrics: RunMetrics) -> list[Table | str]:
    """Show the metrics, a column per split, and those of the test classes of each task."""
    by_split, tables = metrics["metrics"], list[Table | str]()
    if by_split:  # a run that only pre-trains has none
        rows = []
        for name in sorted(set().union(*by_split.values())):
            rows.append([name, *(format_number(split_metrics.get(name)) for split_metrics in by_split.values())])
        tables.append(Table("", ["metric", *by_split], rows))
    for task, classes in metrics["per_class"].get("test", {}).items():
        tables.append(_build_per_class(task, classes))
    return tables


def _build_per_class(task: str, classes: Mapping[str, Metrics]) -> Table:
    names = list(next(iter(classes.values()), {}))
    rows = []
    for label, metrics in classes.items():
        rows.append([label, *(format_metric(name, metrics.get(name)) for name in names)])
    return Table("", [f"{task} (test)", *names], rows)


# -------------------------------------------------------------------------------------------------------------- plots


def _save_plots(folder: RunFolder, output: Path) -> Answer:
    """Draw the run, and list the files."""
    from mmrun.results.report.section import name_files
    from mmrun.results.report.svg import save_plot
    from mmrun.results.run_plots.collect import plot_run

    plots, notes = plot_run(folder)
    rows, records = [], []
    try:
        for plot, name in zip(plots, name_files(plots), strict=True):
            png, svg = save_plot(plot, output / name, ("png", "svg"))
            rows.append([str(png), plot.caption])
            records.append({"plot": plot.name, "caption": plot.caption, "png": str(png), "svg": str(svg)})
    except OSError as error:
        raise ConfigError(f"--plots {output}: cannot be written ({error.strerror})") from None
    for note in notes:
        print_note(note)
    table = Table(f"{folder.name}: {len(rows)} plots, each also as SVG", ["file", "shows"], rows, 2)
    return Answer([table], {"run": folder.name, "plots": records, "notes": notes}, records)


# ------------------------------------------------------------------------------------------------------------- curves


def _build_curves(folder: RunFolder, metrics: RunMetrics | None) -> list[Table | str]:
    """Show losses and the primary metric over the epochs of each stage; nothing where there are no two evaluations."""
    primary = None if metrics is None else find_primary_metric(metrics)[0]
    rows = []
    for (stage, name), points in _read_curves(folder, ["train/loss", "val/loss", f"val/{primary}"]).items():
        if len(points) > 1:
            epochs, values = zip(*points, strict=True)
            first, last = format_number(values[0]), format_number(values[-1])
            rows.append([stage, name, draw_curve(epochs, values, *CURVE_SIZE), first, last])
    return [Table("", ["stage", "curve", "over the epochs", "first", "last"], rows, 2)] if rows else []


def _read_curves(folder: RunFolder, names: Sequence[str]) -> Curves:
    """Return the curves of the log; a damaged log is reported and gives none."""
    if not folder.log_file.exists():
        return {}
    try:
        return folder.log.read_curves(names)
    except DamagedError as error:
        print_note(f"without learning curves: {error}")
        return {}


# --------------------------------------------------------------------------------------------------------------- cost


def _build_costs(cost: Mapping[str, Any], choices: Mapping[str, str]) -> Table:
    rows = []
    for name, stage in cost["stages"].items():
        rows.append(_format_cost(name, _name_objective(name, stage, choices), stage))
    total: Any = {**cost, "reused": False}
    rows.append(_format_cost("all", "", total))
    return Table("", COST_HEADER, rows, 2, COST_DETAILS, keys=1)


def _name_objective(stage: str, cost: "StageCost", choices: Mapping[str, str]) -> str:
    """Return the YAML file of a stage's objective; the name of its class where the config has none.

    A stage `pretrain-image` is a copy of the stage `pretrain` for one modality.
    """
    for name in (stage, stage.rpartition("-")[0]):
        key = f"strategy.stages.{name}.objective"
        if key in choices:
            return choices[key]
    return cost["objective"]


def _format_cost(name: str, objective: str, cost: "StageCost") -> list[str]:
    return [
        f"{name} (reused)" if cost["reused"] else name,
        objective,
        f"{cost['epochs']:.3g}",
        format_count(cost["steps"]),
        format_count(cost["samples"]),
        format_duration(cost["seconds"]),
        format_count(cost["flops"]),
        format_size(cost["peak_memory"]),
        format_count(cost["trainable_parameters"]),
        format_count(cost["total_parameters"]),
    ]
