"""How a run looks on a terminal: a live bar, a line an evaluation, a table at the end. Elsewhere: lines alone."""

import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from mmrun.results.folder import RunFolder

REDRAW = 0.25  # seconds between two readings of the loss, which wait for the device


def speaks() -> bool:
    """Tell whether this process prints: of those that torchrun starts, the first alone."""
    return os.environ.get("RANK", "0") == "0"


class Terminal:
    """Watches a run. Data goes to stdout at the end; all that is said on the way goes to stderr."""

    def __init__(self, live: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not speaks())
        self.bar = Progress(
            TextColumn("{task.description:>16}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]} loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not live or not self.console.is_terminal,
            transient=True,
        )
        self.task: TaskID | None = None
        self.drawn = 0.0
        self.rows = 0  # since `drawn`

    def __enter__(self) -> "Terminal":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def run(self, name: str, stages: Sequence[str]) -> None:
        """Name the run."""
        self.console.print(f"[bold]{name}[/]: {' > '.join(stages)}", highlight=False)

    def stage(self, name: str) -> None:
        """Start a bar."""
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task(name, total=1.0, rate="", loss="")
        self.drawn, self.rows = time.monotonic(), 0

    def step(self, spent: float, rows: int, losses: dict[str, Tensor]) -> None:
        """Move the bar, a few times a second."""
        self.rows += rows
        now = time.monotonic()
        if self.bar.disable or now - self.drawn < REDRAW:
            return
        assert self.task is not None
        rate = f"{self.rows / (now - self.drawn):,.0f} rows/s"
        self.bar.update(self.task, completed=min(1.0, spent), rate=rate, loss=f"{losses['loss'].item():.4f}")
        self.drawn, self.rows = now, 0

    def figures(self, stage: str, figures: dict[str, float]) -> None:
        """Say an evaluation in a line."""
        losses = ("train/loss", "val/loss")
        shown: list[str] = [name for name in losses if name in figures]
        shown += [name for name in figures if name.rpartition("/")[0] != "" and _is_headline(name)]
        line = "  ".join(f"{name} {figures[name]:.4f}" for name in shown)
        self.console.print(f"{stage:>16}  {line}", highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Say a line."""
        self.console.print(text, highlight=False, markup=False)


def _is_headline(name: str) -> bool:
    return name.startswith("val/") and name.split("/")[1].rpartition(".")[2] == "accuracy"


def print_result(folder: RunFolder) -> None:
    """Print a finished run: its figures, what each stage cost, where it lies."""
    if not speaks():
        return
    metrics = folder.metrics()
    console = Console()
    console.print(_figures(metrics["metrics"]))
    console.print(_costs(metrics["cost"]))
    console.print(str(folder.path), highlight=False, soft_wrap=True)


def _figures(metrics: dict[str, dict[str, float]]) -> Table:
    table = Table("metric", *metrics)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(metrics.values()), {}):
        table.add_row(name, *(f"{figures[name]:.4f}" if name in figures else "" for figures in metrics.values()))
    return table


def _costs(cost: dict[str, Any]) -> Table:
    table = Table("stage", "steps", "samples", "seconds", "TFLOP", "learned")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, spent in {**cost["stages"], "all": cost}.items():
        table.add_row(
            name,
            f"{spent['steps']:,}",
            f"{spent['samples']:,}",
            f"{spent['seconds']:.1f}",
            f"{spent['flops'] / 1e12:.3f}",
            f"{spent['trainable_parameters']:,}",
        )
    return table
