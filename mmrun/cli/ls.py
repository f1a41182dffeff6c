"""mmrun ls: a list of runs, one line each."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.output import echo
from mmrun.cli.table import Table, format_duration, format_number, pluralize, print_table
from mmrun.results.index import OUTPUTS, RunSummary, find_runs, summarize_run

if TYPE_CHECKING:
    from rich.table import Table as RichTable

HELP = "List the runs below a folder: state, progress, primary metric on the test rows, training time, age."

HEADER = ["run", "status", "at", "test", "time", "age"]
WATCHED_HEADER = HEADER[:5]  # the age would change all the time
ACTIVE = ("running", "waiting")
REFRESH_SECONDS = 1.0
WATCHED_ORDER = {"running": 0, "failed": 1, "waiting": 3}  # by status; all others are 2

SortKey = tuple[object, ...]
ORDERS: dict[str, Callable[[RunSummary], SortKey]] = {
    "name": lambda run: (run.name,),
    "status": lambda run: (run.status, run.name),
    "value": lambda run: (run.value is None, -(run.value or 0.0)),
    "seconds": lambda run: (run.seconds is None, run.seconds or 0.0),
    "age": lambda run: (run.age,),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments.

    Args:
        parser: of this verb.
    """
    parser.add_argument(
        "folder", nargs="?", type=Path, default=OUTPUTS, help=f"folder to search for runs (default: {OUTPUTS})"
    )
    parser.add_argument("--format", choices=["table", "json", "csv"], default="table", help="default: table")
    parser.add_argument("--sort", choices=ORDERS, default="name", help="value: highest first; age: newest first")
    parser.add_argument(
        "--watch", action="store_true", help="keep the table up to date until no run is active, or until Ctrl-C"
    )


def run(args: argparse.Namespace) -> int:
    """Print the list; the number of runs by status goes to stderr.

    Returns:
        The exit code, 0.
    """
    if args.watch:
        _watch(args.folder)
        return 0
    runs = [summarize_run(run_folder, args.folder) for run_folder in find_runs(args.folder)]
    runs.sort(key=ORDERS[args.sort])
    if args.format == "json":
        echo(json.dumps([asdict(run) for run in runs], indent=1))
    elif args.format == "csv":
        _print_csv(runs)
    elif runs:
        print_table(Table("", HEADER, [_format_run(run) for run in runs], 3))
    echo(_count_by_status(runs, args.folder), file=sys.stderr)
    return 0


def _watch(folder: Path) -> None:
    """Redraw the table, active runs first, until no run is active."""
    from rich.live import Live

    from mmrun.cli.console import Console

    finished: dict[Path, RunSummary] = {}  # they do not change, and are not read again
    list(find_runs(folder))  # raises if there is no such folder
    with Live(console=Console(), auto_refresh=False) as live:
        try:
            while True:
                runs = {run.path: finished.get(run.path) or summarize_run(run, folder) for run in find_runs(folder)}
                finished = {path: run for path, run in runs.items() if run.status == "finished"}
                live.update(_build_watched_table(list(runs.values()), folder), refresh=True)
                if not any(run.status in ACTIVE for run in runs.values()):
                    return
                time.sleep(REFRESH_SECONDS)
        except KeyboardInterrupt:
            return


def _build_watched_table(runs: Sequence[RunSummary], folder: Path) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable

    title = _count_by_status(runs, folder)
    table = RichTable(
        *WATCHED_HEADER, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for run in sorted(runs, key=lambda run: (WATCHED_ORDER.get(run.status, 2), run.age)):
        table.add_row(*_format_run(run)[: len(WATCHED_HEADER)])
    return table


def _count_by_status(runs: Sequence[RunSummary], folder: Path) -> str:
    counts = Counter(run.status for run in runs)
    by_status = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{pluralize(len(runs), 'run')} below {folder}{': ' if runs else ''}{by_status}"


def _print_csv(runs: Sequence[RunSummary]) -> None:
    from mmrun.results.csv import write_csv

    echo(write_csv([field.name for field in fields(RunSummary)], (astuple(run) for run in runs)), end="")


def _format_run(run: RunSummary) -> list[str]:
    position = "" if run.status == "finished" else f"{run.stage or 'start'} {run.progress:.0%}"
    position = position if run.reason is None else run.reason
    metric = f"{run.metric} {format_number(run.value)}" if run.metric is not None else "-"
    return [run.name, run.status, position, metric, format_duration(run.seconds), format_duration(run.age)]
