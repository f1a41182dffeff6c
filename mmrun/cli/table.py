"""Tables on a terminal, and the words for their figures."""

import shutil
import sys
from collections.abc import Sequence

from mmrun.results.formatting import format_count, format_duration, format_number, format_size, pluralize

__all__ = ["format_count", "format_duration", "format_number", "format_size", "pluralize", "print_table"]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print aligned columns, the first `left` of them to the left; no cell is cut where the reader is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, name in enumerate(header):
        table.add_column(name, justify="left" if place < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000)
    with console.capture() as captured:  # printed by ourselves: rich would exit 1 where `head` has read enough
        console.print(table)
    lines = [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]
    print("\n".join(lines))
