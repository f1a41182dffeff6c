"""mmrun data stats: what a data set looks like, as a table or as a page with plots and samples."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.answer import Answer, Part, print_answer
from mmrun.cli.arguments import add_table_format, check_folder
from mmrun.cli.data_set import open_table
from mmrun.cli.dataset_arguments import add_file, compose_node
from mmrun.cli.table import inform
from mmrun.errors import ConfigError, DataError
from mmrun.results.run_values import flatten

if TYPE_CHECKING:
    from mmrun.data.checks.statistics import Statistics
    from mmrun.data.table import Table as DataTable

HELP = "Show what a data set looks like: rows, classes, numbers, lengths and words by split, and samples on a page."

PAGE_SUFFIXES = (".html", ".htm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_file(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PAGE", help="write a page with plots and samples: an .html file"
    )
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the statistics, or write the page.

    Raises:
        ConfigError: an argument does not fit the file.
        DataError: the data cannot be used.
    """
    if args.output is not None:
        _check_output(args.output)
    table = _open_table(args)

    from mmrun.data.checks.statistics import summarize

    statistics = summarize(table)
    if args.output is None:
        document = asdict(statistics)
        records = [{"key": key, "value": value} for key, value in flatten(document)]
        print_answer(Answer(list(_iterate_parts(statistics)), document, records), args.format)
        return 0
    _write_page(args, table, statistics)
    return 0


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in PAGE_SUFFIXES:
        raise ConfigError(f"-o {output}: a page is written; name an .html file")
    check_folder(output)


def _open_table(args: argparse.Namespace) -> "DataTable":
    """Open the data set without the rows that cannot be used."""
    table = open_table(compose_node(args.file, args.overrides))
    if not table.columns:
        raise DataError(f"{args.file}: no column is left to show")
    if table.skipped:
        table.notes.insert(0, f"{len(table.skipped):,} bad rows are left out; `mmrun data check` lists them")
    return table


def _write_page(args: argparse.Namespace, table: "DataTable", statistics: "Statistics") -> None:
    from mmrun.data.checks.samples import draw_samples
    from mmrun.results.dataset_page.content import build_page
    from mmrun.results.dataset_page.page import render_html
    from mmrun.results.files import write_atomically

    samples, notes = draw_samples(table)
    html = render_html(build_page(Path(args.file).name, statistics, samples, notes))
    write_atomically(args.output, lambda path: path.write_text(html, encoding="utf-8"))
    inform(f"wrote {args.output}")


def _iterate_parts(statistics: "Statistics") -> Iterator[Part]:
    from mmrun.results.dataset_page.tables import tabulate_classes, tabulate_numbers, tabulate_rows

    yield tabulate_rows(statistics)
    for name, target in statistics.targets.items():
        if target.frequencies is not None:
            yield tabulate_classes(name, target)
    numbers = tabulate_numbers(statistics)
    if numbers is not None:
        yield numbers
    if statistics.notes:
        yield "\n".join(["notes:", *(f"  {note}" for note in statistics.notes)])
