"""`mmrun ls`: one line a run."""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mmrun.cli.table import duration, number, print_table
from mmrun.runs.index import OUTPUTS, Summary, find, summary

HELP = "List the runs below a folder: state, progress, headline figure on the test rows, training time, age."

ORDERS: dict[str, Callable[[Summary], Any]] = {
    "name": lambda run: run.name,
    "status": lambda run: (run.status, run.name),
    "value": lambda run: (run.value is None, -(run.value or 0.0)),
    "seconds": lambda run: (run.seconds is None, run.seconds or 0.0),
    "age": lambda run: run.age,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", nargs="?", type=Path, default=OUTPUTS, help="where to look (default: outputs)")
    parser.add_argument("--format", choices=["table", "json", "csv"], default="table")
    parser.add_argument("--sort", choices=ORDERS, default="name", help="value: highest first; age: newest first")


def run(args: argparse.Namespace) -> int:
    """Print the list; how many there are of each state goes to stderr."""
    runs = sorted((summary(found, args.folder) for found in find(args.folder)), key=ORDERS[args.sort])
    if args.format == "json":
        print(json.dumps([asdict(run) for run in runs], indent=1))
    elif args.format == "csv":
        _print_csv(runs)
    elif runs:
        _print_table(runs)
    counts = Counter(run.status for run in runs)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    print(f"{len(runs)} runs below {args.folder}{': ' if runs else ''}{said}", file=sys.stderr)
    return 0


def _print_csv(runs: list[Summary]) -> None:
    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(Summary)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(run) for run in runs)


def _print_table(runs: list[Summary]) -> None:
    header = ["run", "status", "at", "test", "time", "age"]
    print_table(header, [_cells(run) for run in runs], left=3)


def _cells(run: Summary) -> list[str]:
    at = "" if run.status == "finished" else f"{run.stage or 'start'} {run.progress:.0%}"
    figure = f"{run.metric} {number(run.value)}" if run.metric is not None else "-"
    return [run.name, run.status, at, figure, duration(run.seconds), duration(run.age)]
