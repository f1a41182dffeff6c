"""mmrun ensemble: ensembles of several finished runs."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mmrun.cli.answer import Answer, Record, print_answer
from mmrun.cli.arguments import RUN_HELP, add_table_format
from mmrun.cli.table import inform
from mmrun.errors import ConfigError, nearest
from mmrun.results.formatting import format_number
from mmrun.results.index import resolve
from mmrun.results.table import Table

if TYPE_CHECKING:
    import numpy as np

    from mmrun.results.folder import RunFolder
    from mmrun.types import Task

HELP = "Evaluate ensembles of several finished runs on one data set. Methods are fitted on the validation rows."

METHODS = ("average", "vote", "greedy", "stack", "boost", "soup")
SPLITS = ("val", "test")

Metrics = dict[str, dict[str, float]]  # by split, then by metric


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help=f"two or more, each {RUN_HELP}")
    parser.add_argument(
        "--method",
        metavar="NAMES",
        default="average,vote,greedy,stack",
        help=f"of {', '.join(METHODS)}, separated by commas (default: %(default)s); soup averages weights, the others "
        "predictions",
    )
    parser.add_argument("--metric", metavar="NAME", help="metric to print (default: the primary metric of each task)")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the metrics of the members and of each ensemble."""
    runs = [resolve(name) for name in args.runs]
    methods = args.method.split(",")
    _check(runs, methods)

    from mmrun.compose import restore
    from mmrun.run.data import open_data

    tasks = open_data(restore(runs[0].read_config())).tasks
    metrics = {name: _evaluate(runs, methods, task) for name, task in tasks.items()}
    tables = []
    for name, task in tasks.items():
        metric = args.metric or task.primary_metric
        tables.append(_build_table(name if len(tasks) > 1 else "", metric, metrics[name]))
    document = {"members": [run.name for run in runs], "tasks": metrics}
    print_answer(Answer(tables, document, list(_iterate_records(metrics))), args.format)
    inform("inference costs the sum of the members; that of soup costs as much as one member")
    return 0


def _check(runs: Sequence["RunFolder"], methods: Sequence[str]) -> None:
    for method in methods:
        if method not in METHODS:
            raise ConfigError(
                f"--method: no method '{method}'{nearest(method, METHODS)} (there are {', '.join(METHODS)})"
            )
    if len({run.path.resolve() for run in runs}) < 2:
        raise ConfigError("an ensemble needs at least two different runs")
    for run in runs:
        if not run.finished:
            raise ConfigError(f"{run.path}: this run is not finished; mmrun resume {run.path}")
        if run.read_metrics()["primary_head"] is None:
            raise ConfigError(f"{run.path}: this run makes no predictions; name runs that train a head")


def _evaluate(runs: Sequence["RunFolder"], methods: Sequence[str], task: "Task") -> dict[str, Metrics]:
    """Return the metrics of each member and of each method."""
    from mmrun.evaluation import ensemble

    members, targets = {}, {}  # by split: scores [M, N, C] of the members, and targets
    for split in SPLITS:
        members[split], targets[split], _ = ensemble.read_member_predictions(runs, split, task.name)
    scores: dict[str, dict[str, np.ndarray]] = {}
    for index, run in enumerate(runs):
        scores[run.name] = {split: members[split][index] for split in SPLITS}
    for method in methods:
        if method != "soup":
            combine = ensemble.METHODS[method](members["val"], targets["val"], task)
            scores[method] = {split: combine(members[split]) for split in SPLITS}
    if "soup" in methods:
        scores["soup"] = _predict_soup(runs, task.name)
    metrics = {}
    for name, by_split in scores.items():
        metrics[name] = {split: task.metrics(by_split[split], targets[split]) for split in by_split}
    return metrics


def _predict_soup(runs: Sequence["RunFolder"], task: str) -> dict[str, "np.ndarray"]:
    from mmrun.cli.terminal import Terminal
    from mmrun.evaluation.soup import predict_soup

    return {split: by_task[task] for split, by_task in predict_soup(runs, SPLITS, Terminal(live=False)).items()}


def _iterate_records(metrics: Mapping[str, Mapping[str, Metrics]]) -> Iterator[Record]:
    """Yield a record for each task, ensemble or member, and split, with all its metrics."""
    for task, by_name in metrics.items():
        for name, by_split in by_name.items():
            for split, values in by_split.items():
                yield {"task": task, "name": name, "split": split, **values}


def _build_table(task: str, metric: str, metrics: Mapping[str, Metrics]) -> Table:
    names = next(iter(metrics.values()))["test"]
    if metric not in names:
        raise ConfigError(f"--metric: no metric '{metric}'{nearest(metric, names)} (there are {', '.join(names)})")
    rows = []
    for name, by_split in metrics.items():
        rows.append([name, *(format_number(by_split[split][metric]) for split in SPLITS)])
    return Table("", [f"{task}.{metric}" if task else metric, "val (fitted on)", "test"], rows)
