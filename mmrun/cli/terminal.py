"""How a run looks on a terminal: a live bar, a line per evaluation, tables at the end. Elsewhere: lines alone."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from mmrun.results.folder import RunFolder
from mmrun.results.schema import RunCost
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback
from mmrun.training.state import TrainState

REDRAW = 0.25  # seconds between two readings of the loss, each of which waits for the device


def is_first_process() -> bool:
    """Return whether this process prints: of those that torchrun starts, only the first one."""
    return os.environ.get("RANK", "0") == "0"


class Terminal(Callback):
    """Shows a run on the terminal: a live bar, a line per evaluation. Everything goes to stderr; results go to stdout.

    Args:
        live: draw a progress bar where stderr is a terminal.
    """

    def __init__(self, live: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not is_first_process())
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
        self.stage: BuiltStage | None = None
        self.drawn_at = 0.0
        self.rows = 0  # since the bar was drawn

    def __enter__(self) -> "Terminal":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def on_run_start(self, folder: Path, stages: Sequence[str]) -> None:
        """Print the name of the run and its stages."""
        self.console.print(f"[bold]{folder.name}[/]: {' > '.join(stages)}", highlight=False)

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """Start a bar."""
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.stage = stage
        self.task = self.bar.add_task(stage.name, total=1.0, rate="", loss="")
        self.drawn_at, self.rows = time.monotonic(), 0

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """Move the bar, a few times a second."""
        assert self.stage is not None
        self.rows += self.stage.batch_size
        now = time.monotonic()
        if self.bar.disable or now - self.drawn_at < REDRAW:
            return
        assert self.task is not None
        rate = f"{self.rows / (now - self.drawn_at):,.0f} rows/s"
        completed = min(1.0, self.stage.spent(state))
        self.bar.update(self.task, completed=completed, rate=rate, loss=f"{losses['loss'].item():.4f}")
        self.drawn_at, self.rows = now, 0

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Print a line."""
        assert self.stage is not None
        shown: list[str] = [name for name in ("train/loss", "val/loss") if name in metrics]
        shown += [name for name in metrics if is_accuracy(name)]
        line = "  ".join(f"{name} {metrics[name]:.4f}" for name in shown)
        self.console.print(f"{self.stage.name:>16}  {line}", highlight=False, soft_wrap=True)

    def on_message(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False)


def is_accuracy(name: str) -> bool:
    """Return whether a logged metric is the accuracy of a head on the validation rows."""
    return name.startswith("val/") and name.split("/")[1].rpartition(".")[2] == "accuracy"


def print_result(folder: RunFolder) -> None:
    """Print a finished run to stdout: its metrics, what each stage cost, and its folder."""
    if not is_first_process():
        return
    metrics = folder.read_metrics()
    console = Console()
    console.print(_metrics_table(metrics["metrics"]))
    console.print(_cost_table(metrics["cost"]))
    console.print(str(folder.path), highlight=False, soft_wrap=True)


def _metrics_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("metric", *metrics)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(metrics.values()), {}):
        table.add_row(name, *(f"{split[name]:.4f}" if name in split else "" for split in metrics.values()))
    return table


def _cost_table(cost: RunCost) -> Table:
    table = Table("stage", "steps", "samples", "seconds", "TFLOP", "learned")
    for column in table.columns[1:]:
        column.justify = "right"
    costs: dict[str, Mapping[str, Any]] = {**cost["stages"], "all": cost}
    for name, spent in costs.items():
        table.add_row(
            name,
            f"{spent['steps']:,}",
            f"{spent['samples']:,}",
            f"{spent['seconds']:.1f}",
            f"{spent['flops'] / 1e12:.3f}",
            f"{spent['trainable_parameters']:,}",
        )
    return table
