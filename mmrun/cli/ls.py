"""`mmrun ls`: one line a run."""

import argparse
import csv
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrun.cli.table import format_duration, format_number, pluralize, print_table
from mmrun.results.index import OUTPUTS, RunSummary, find_runs, summarize_run

if TYPE_CHECKING:
    from rich.table import Table

HELP = "List the runs below a folder: state, progress, primary metric on the test rows, training time, age."

HEADER = ["run", "status", "at", "test", "time", "age"]
UNDER_WAY = ("running", "waiting")
REDRAW = 1.0  # seconds

ORDERS: dict[str, Callable[[RunSummary], Any]] = {
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
    parser.add_argument("--watch", action="store_true", help="keep the table up to date until all runs are over, or ^C")


def run(args: argparse.Namespace) -> int:
    """Print the list; how many there are of each state goes to stderr."""
    if args.watch:
        return _watch(args.folder)
    runs = sorted((summarize_run(found, args.folder) for found in find_runs(args.folder)), key=ORDERS[args.sort])
    if args.format == "json":
        print(json.dumps([asdict(run) for run in runs], indent=1))
    elif args.format == "csv":
        _print_csv(runs)
    elif runs:
        _print_table(runs)
    print(_counts(runs, args.folder), file=sys.stderr)
    return 0


def _watch(folder: Path) -> int:
    """Draw the table anew, what moves on top, until no run is under way or waits for its turn."""
    from rich.console import Console
    from rich.live import Live

    over: dict[Path, RunSummary] = {}  # they stay as they are, and are not read again
    list(find_runs(folder))  # or say that there is no such folder
    with Live(console=Console(), auto_refresh=False) as live:
        try:
            while True:
                runs = {run.path: over.get(run.path) or summarize_run(run, folder) for run in find_runs(folder)}
                over = {path: run for path, run in runs.items() if run.status == "finished"}
                live.update(_moving(list(runs.values()), folder), refresh=True)
                if not any(run.status in UNDER_WAY for run in runs.values()):
                    return 0
                time.sleep(REDRAW)
        except KeyboardInterrupt:
            return 0


def _moving(runs: list[RunSummary], folder: Path) -> "Table":
    from rich import box
    from rich.table import Table

    title = _counts(runs, folder)
    table = Table(*HEADER[:5], title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    rank = {"running": 0, "failed": 1, "waiting": 3}  # the rest lies between
    for run in sorted(runs, key=lambda run: (rank.get(run.status, 2), run.age)):
        table.add_row(*_cells(run)[:5])
    return table


def _counts(runs: list[RunSummary], folder: Path) -> str:
    counts = Counter(run.status for run in runs)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{pluralize(len(runs), 'run')} below {folder}{': ' if runs else ''}{said}"


def _print_csv(runs: list[RunSummary]) -> None:
    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(RunSummary)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(run) for run in runs)


def _print_table(runs: list[RunSummary]) -> None:
    print_table(HEADER, [_cells(run) for run in runs], left=3)


def _cells(run: RunSummary) -> list[str]:
    at = "" if run.status == "finished" else f"{run.stage or 'start'} {run.progress:.0%}"
    figure = f"{run.metric} {format_number(run.value)}" if run.metric is not None else "-"
    return [run.name, run.status, at, figure, format_duration(run.seconds), format_duration(run.age)]
