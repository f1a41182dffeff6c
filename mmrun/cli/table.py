"""Prints tables on a terminal. The functions that format their cells are offered here too."""

import shutil
import sys
from collections.abc import Sequence

from mmrun.results.formatting import format_count, format_duration, format_number, format_size, pluralize

__all__ = ["format_count", "format_duration", "format_number", "format_size", "pluralize", "print_table"]

PIPE_WIDTH = 10_000  # columns where stdout is not a terminal: no cell is cut


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print aligned columns to stdout.

    Args:
        header: names of the columns.
        rows: cells, one per column.
        left: how many columns, from the first, are aligned to the left; the others are aligned to the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mmrun.cli.console import Console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(header):
        table.add_column(Text(name), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH)
    with console.capture() as capture:  # and print it below: rich would exit with 1 when `head` closes the pipe
        console.print(table)
    for line in capture.get().rstrip("\n").split("\n"):
        print(line.rstrip())
