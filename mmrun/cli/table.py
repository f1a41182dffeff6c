"""Prints tables and text on a terminal."""

import os
import shutil
import sys
from dataclasses import replace
from typing import TextIO

from rich.cells import cell_len

from mmrun.cli.layout import fit_table, wrap
from mmrun.cli.output import echo, is_quiet
from mmrun.results.formatting import escape_controls
from mmrun.results.table import Table

UNLIMITED = 100_000  # columns where the output is not a terminal: no line is wrapped
CONTINUED = " \\"  # at the end of a line of a command that goes on
COMMAND_INDENT = "  "
STYLES = {"best": "bold green", "failed": "red", "faint": "dim"}  # of rich


def terminal_width(stream: TextIO) -> int | None:
    """Return the number of columns of the terminal that a stream writes to; None if it is a pipe or a file.

    Args:
        stream: sys.stdout or sys.stderr.
    """
    return shutil.get_terminal_size().columns if stream.isatty() else None


def print_table(table: Table) -> None:
    """Print a table to stdout, below its caption. On a narrow terminal, columns that do not fit follow below."""
    width = terminal_width(sys.stdout)
    if table.caption:
        print_text(table.caption)
    for index, part in enumerate(fit_table(_escape(table), width)):
        if index > 0:
            echo()
        _print_fitting(part, width)


def print_text(text: str, indent: str = "", file: TextIO | None = None) -> None:
    """Print text, wrapped at words where it goes to a terminal.

    Args:
        text: may come from someone else: its control characters are escaped.
        indent: of the lines that are wrapped; those of an indented line are indented by two more than it.
        file: sys.stdout if None.
    """
    stream = sys.stdout if file is None else file
    width = terminal_width(stream)
    if width is None:
        echo(text, file=stream)
        return
    for line in escape_controls(text).split("\n"):
        print("\n".join(_wrap_line(line, width, indent)), file=stream)


def _wrap_line(line: str, width: int, indent: str) -> list[str]:
    """Wrap a line, and indent what follows the first."""
    start = line[: len(line) - len(line.lstrip())]
    hanging = f"{start}  " if start else indent
    first, *others = wrap(line.lstrip(), max(width - len(hanging), 1))
    return [start + first, *(hanging + other for other in others)]


def print_command(label: str, command: str) -> None:
    """Print a command to stdout. On a narrow terminal its lines end so that a shell reads them as one.

    Args:
        label: before the command.
        command: as one types it.
    """
    width = terminal_width(sys.stdout)
    text = escape_controls(f"{label}{command}")
    if width is None or cell_len(text) <= width:
        print(text)
        return
    lines = wrap(escape_controls(command), max(width - len(CONTINUED) - len(COMMAND_INDENT), 1))
    print_text(label.rstrip())
    print(COMMAND_INDENT + f"{CONTINUED}\n{COMMAND_INDENT}".join(lines))


def inform(text: str) -> None:
    """Print to stderr what is no result: counts, where files were written. Nothing with `--quiet`.

    Args:
        text: see `print_text`.
    """
    if not is_quiet():
        print_text(text, indent="  ", file=sys.stderr)


def print_note(text: str) -> None:
    """Print to stderr what to know before trusting a result. Nothing with `--quiet`.

    Args:
        text: see `print_text`.
    """
    inform(f"note: {text}")


def _escape(table: Table) -> Table:
    header = [escape_controls(name) for name in table.header]
    rows = [[escape_controls(cell) for cell in row] for row in table.rows]
    return replace(table, header=header, rows=rows)


def _print_fitting(table: Table, width: int | None) -> None:
    """Print a table that fits, with colours where stdout is a terminal and NO_COLOR is not set."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    from mmrun.cli.console import Console

    rich_table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for place, name in enumerate(table.header):
        justify = "left" if table.is_text(place) else "right"
        rich_table.add_column(Text(name), justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for number, row in enumerate(table.rows):
        cells = []
        for place, cell in enumerate(row):
            style = table.styles.get((number, place))
            cells.append(Text(cell, style=STYLES[style] if style else ""))
        rich_table.add_row(*cells)
    console = Console(width=width or UNLIMITED, color_system=None if os.environ.get("NO_COLOR") else "auto")
    with console.capture() as capture:  # and print it below: rich would exit with 1 when `head` closes the pipe
        console.print(rich_table)
    for line in capture.get().rstrip("\n").split("\n"):
        print(line.rstrip())
