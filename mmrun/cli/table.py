"""Tables and figures as a person reads them."""

import shutil
import sys
from collections.abc import Sequence


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print aligned columns, the first `left` of them to the left; no cell is cut where the reader is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(width=shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000)
    with console.capture() as captured:  # printed by ourselves: rich would exit 1 where `head` has read enough
        console.print(table)
    lines = [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]
    print("\n".join(lines))


def number(value: float | None) -> str:
    """Write four digits that count, or a dash for none."""
    if value is None:
        return "-"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 or value == 0 else f"{value:.4g}"


def count(value: float | None) -> str:
    """Write a large number short: 1.44M, 25.3k."""
    if value is None:
        return "-"
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def size(value: float | None) -> str:
    """Write bytes: 512 MiB."""
    if value is None:
        return "-"
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


def duration(seconds: float | None) -> str:
    """Write a time in its one or two largest units: 1.5 s, 3 min 20 s, 2 h 5 min, 4 d."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d"
