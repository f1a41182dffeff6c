"""mmrun ls: a list of runs, one line each."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_table_format, add_where, parse_number
from mmrun.cli.table import inform
from mmrun.errors import ConfigError
from mmrun.results.formatting import format_duration, format_number, pluralize
from mmrun.results.index import FAILED, OUTPUTS, RunSummary, find_runs, is_lower_better, read_summary
from mmrun.results.listing import ListedRun, filter_listed, find_varying_keys, list_runs, to_record
from mmrun.results.table import Style, Table
from mmrun.values import Range

if TYPE_CHECKING:
    from rich.table import Table as RichTable

HELP = (
    "List the runs below a folder: state, progress, primary metric on the test rows, training time, age, and the "
    "overrides in which the runs differ."
)

HEADER = ["run", "status", "at", "test", "time", "age"]
WATCHED_HEADER = HEADER[:5]  # the age would change all the time
STATUS, POSITION, TEST, TIME = map(HEADER.index, ("status", "at", "test", "time"))
ACTIVE = ("running", "waiting")
REFRESH_SECONDS = 1.0
WATCHED_ORDER = {"running": 0, "failed": 1, "waiting": 3}  # by status; all others are 2

SortKey = tuple[object, ...]


def _rank_key(run: RunSummary) -> float:
    """Return a number that is the lower, the better the run is."""
    value = run.value or 0.0
    return value if is_lower_better(run.metric or "") else -value


ORDERS: dict[str, Callable[[RunSummary], SortKey]] = {
    "name": lambda run: (run.name,),
    "status": lambda run: (run.status, run.name),
    "value": lambda run: (run.value is None, _rank_key(run)),
    "seconds": lambda run: (run.seconds is None, run.seconds or 0.0),
    "age": lambda run: (-(run.modified or 0.0),),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "folder", nargs="?", type=Path, default=OUTPUTS, help=f"folder to search for runs (default: {OUTPUTS})"
    )
    add_table_format(parser)
    add_where(parser)
    parser.add_argument(
        "--sort", choices=ORDERS, default="name", help="value: best first; seconds: fastest first; age: newest first"
    )
    parser.add_argument(
        "--limit", metavar="N", type=parse_number(int, Range(at_least=1)), help="only the first N runs of this order"
    )
    parser.add_argument(
        "--watch", action="store_true", help="keep the table up to date until no run is active, or until Ctrl-C"
    )


def run(args: argparse.Namespace) -> int:
    """Print the list; the number of runs by status goes to stderr.

    Raises:
        ConfigError: the arguments do not fit together.
    """
    if args.watch:
        if args.where or args.limit is not None or args.format != "table":
            raise ConfigError("--watch: shows a table of all runs; drop --where, --limit and --format")
        _watch(args.folder)
        return 0
    runs = filter_listed(list_runs(args.folder), args.where)
    runs.sort(key=lambda run: ORDERS[args.sort](run.summary))
    shown = runs[: args.limit]
    print_answer(_build_answer(shown), args.format)
    count = _count_by_status([run.summary for run in runs], args.folder)
    inform(count if len(shown) == len(runs) else f"{count}; the first {len(shown)} are shown")
    return 0


def _build_answer(runs: Sequence[ListedRun]) -> Answer:
    keys = find_varying_keys(runs)
    document, records = [], []
    for run in runs:
        record, settings = to_record(run), {key: run.setting(key) for key in sorted(run.overridden)}
        document.append({**record, "settings": settings})
        records.append({**record, "tags": " ".join(run.tags), **{key: run.setting(key) for key in keys}})
    columns = [*(field.name for field in fields(RunSummary)), "tags", "note", *keys]
    parts = [_build_table(runs, keys)] if runs else []
    notes = [[run.summary.name, run.note] for run in runs if run.note]
    if notes:
        parts.append(Table("", ["run", "note"], notes, 2))
    return Answer(parts, document, records, columns)


def _build_table(runs: Sequence[ListedRun], keys: Sequence[str]) -> Table:
    """Build the table. A narrow terminal shows the run, its status and its metric first, and the rest below."""
    labels = ["tags"] if any(run.tags for run in runs) else []
    header = [*HEADER[:TIME], *keys, *labels, *HEADER[TIME:]]
    rows = []
    for run in runs:
        cells = _format_run(run.summary)
        tags = [", ".join(run.tags)] if labels else []
        rows.append([*cells[:TIME], *map(run.setting, keys), *tags, *cells[TIME:]])
    details = (POSITION, *range(TIME, len(header)))
    return Table("", header, rows, 2, details, styles=_find_styles(runs), texts=(POSITION,), keys=1)


def _find_styles(runs: Sequence[ListedRun]) -> dict[tuple[int, int], Style]:
    """Return the styles of the failed runs, and of the best value of each metric that several runs have."""
    styles: dict[tuple[int, int], Style] = {}
    by_metric: dict[str, list[int]] = {}  # numbers of the rows
    for number, run in enumerate(runs):
        if run.summary.status in FAILED:
            styles[number, STATUS] = "failed"
        if run.summary.metric is not None and run.summary.value is not None:
            by_metric.setdefault(run.summary.metric, []).append(number)
    for numbers in by_metric.values():
        if len(numbers) > 1:
            styles[min(numbers, key=lambda number: _rank_key(runs[number].summary)), TEST] = "best"
    return styles


def _watch(folder: Path) -> None:
    """Redraw the table, active runs first, until no run is active."""
    from rich.live import Live

    from mmrun.cli.console import Console

    finished: dict[Path, RunSummary] = {}  # they do not change, and are not read again
    list(find_runs(folder))  # raises if there is no such folder
    with Live(console=Console(), auto_refresh=False) as live:
        try:
            while True:
                runs = {run.path: finished.get(run.path) or read_summary(run, folder)[0] for run in find_runs(folder)}
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
    for run in sorted(runs, key=lambda run: (WATCHED_ORDER.get(run.status, 2), -(run.modified or 0.0))):
        table.add_row(*_format_run(run)[: len(WATCHED_HEADER)])
    return table


def _count_by_status(runs: Sequence[RunSummary], folder: Path) -> str:
    counts = Counter(run.status for run in runs)
    by_status = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{pluralize(len(runs), 'run')} below {folder}{': ' if runs else ''}{by_status}"


def _format_run(run: RunSummary) -> list[str]:
    position = "" if run.status == "finished" else f"{run.stage or 'start'} {run.progress:.0%}"
    position = position if run.reason is None else run.reason
    metric = f"{run.metric} {format_number(run.value)}" if run.metric is not None else "-"
    return [run.name, run.status, position, metric, format_duration(run.seconds), format_duration(run.age)]
