"""`mmrun ensemble`: what several finished runs say together."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrun.cli.table import format_number, print_table
from mmrun.errors import ConfigError, nearest

if TYPE_CHECKING:
    from mmrun.results.folder import RunFolder
    from mmrun.types import Task

HELP = (
    "Tell what several finished runs on one data set say together; ways to combine them are fitted on validation rows."
)

METHODS = ("average", "vote", "greedy", "stack", "boost", "soup")
SPLITS = ("val", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="two or more: folders, or beginnings of names or hashes")
    parser.add_argument(
        "--method",
        metavar="NAMES",
        default="average,vote,greedy,stack",
        help=f"of {', '.join(METHODS)}, commas between them (default: %(default)s); soup averages weights, not answers",
    )
    parser.add_argument("--metric", metavar="NAME", help="figure to show (default: the task's main one)")
    parser.add_argument("--format", choices=["table", "json"], default="table", help="json: every figure")


def run(args: argparse.Namespace) -> int:
    """Print the members' figures and those of each way to combine them."""
    from mmrun.results.index import resolve

    runs = [resolve(name) for name in args.runs]
    methods = args.method.split(",")
    _check(runs, methods)

    from mmrun.compose import restore
    from mmrun.run import build

    tasks = build.open_data(restore(runs[0].read_config())).tasks
    found = {name: _figures(runs, methods, task) for name, task in tasks.items()}
    if args.format == "json":
        print(json.dumps({"members": [run.name for run in runs], "tasks": found}, indent=1))
        return 0
    for name, task in tasks.items():
        _print(name if len(tasks) > 1 else "", args.metric or task.primary_metric, found[name])
    return 0


def _check(runs: Sequence["RunFolder"], methods: Sequence[str]) -> None:
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"--method: no way '{method}'{nearest(method, METHODS)} (there are {', '.join(METHODS)})")
    if len({run.path.resolve() for run in runs}) < 2:
        raise ConfigError("an ensemble is of two different runs or more")
    for run in runs:
        if not run.finished:
            raise ConfigError(f"{run.path}: this run is not finished; mmrun resume {run.path}")
        if run.read_metrics()["primary_head"] is None:
            raise ConfigError(f"{run.path}: this run predicts nothing; give runs that train a head")


def _figures(runs: Sequence["RunFolder"], methods: Sequence[str], task: "Task") -> dict[str, dict[str, Any]]:
    """Return every figure by member or method, then by split."""
    from mmrun.evaluation import ensemble

    said = {split: ensemble.answers(runs, split, task.name)[:2] for split in SPLITS}
    fitted = said["val"]
    combined = {m: ensemble.METHODS[m](*fitted, task) for m in methods if m != "soup"}
    spoken: dict[str, Mapping[str, Any]] = {
        run.name: {split: scores[place] for split, (scores, _) in said.items()} for place, run in enumerate(runs)
    }
    spoken |= {m: {split: combine(scores) for split, (scores, _) in said.items()} for m, combine in combined.items()}
    if "soup" in methods:
        spoken["soup"] = _soup(runs, task.name)
    return {
        name: {split: task.metrics(scores, said[split][1]) for split, scores in by_split.items()}
        for name, by_split in spoken.items()
    }


def _soup(runs: Sequence["RunFolder"], task: str) -> dict[str, Any]:
    from mmrun.cli.terminal import Terminal
    from mmrun.evaluation.soup import soup

    return {split: by_task[task] for split, by_task in soup(runs, SPLITS, Terminal(live=False)).items()}


def _print(task: str, metric: str, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    known = next(iter(found.values()))["test"]
    if metric not in known:
        raise ConfigError(f"--metric: no figure '{metric}'{nearest(metric, known)} (there are {', '.join(known)})")
    rows = [[name, *(format_number(by_split[split][metric]) for split in SPLITS)] for name, by_split in found.items()]
    print_table([f"{task}.{metric}" if task else metric, "val (fitted on)", "test"], rows)
    print("costs what its members cost together; soup costs what one of them does to run", file=sys.stderr)
