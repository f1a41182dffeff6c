"""A bar on stderr for work that has a known number of rows."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mmrun.cli.console import Console
from mmrun.cli.output import is_quiet

T = TypeVar("T")


def track(blocks: Iterable[T], total: int, count: Callable[[T], int], unit: str = "rows") -> Iterator[T]:
    """Yield blocks of rows, and show on a terminal how many are done, how fast, and the time that remains.

    Args:
        blocks: of rows.
        total: rows of all blocks.
        count: returns the rows of a block.
        unit: what is counted.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=is_quiet())
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        for block in blocks:
            yield block
            progress.advance(task, count(block))
