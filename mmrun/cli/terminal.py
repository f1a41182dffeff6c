"""Shows a run on a terminal: a progress bar, a line per evaluation, tables at the end. Elsewhere without the bar."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from torch import Tensor

from mmrun.cli.console import Console
from mmrun.results.folder import RunFolder
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback
from mmrun.training.state import TrainState

REDRAW_SECONDS = 0.25  # reading the loss waits for the device, so it is not read at every step


def is_first_process() -> bool:
    """Return whether this process prints: only the first of those that torchrun starts."""
    return os.environ.get("RANK", "0") == "0"


class Terminal(Callback):
    """Shows the progress of a run on stderr: a progress bar and a line per evaluation.

    Args:
        live: draw the progress bar if stderr is a terminal.
    """

    def __init__(self, live: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not is_first_process())
        self.bar = Progress(
            TextColumn("{task.description:>16}", markup=False),
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
        self.rows = 0  # since the bar was last drawn

    def __enter__(self) -> "Terminal":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def on_run_start(self, folder: Path, stages: Sequence[str]) -> None:
        """Print the name of the run and its stages.

        Args:
            folder: of the run.
            stages: names, in order.
        """
        self.console.print(Text.assemble((folder.name, "bold"), f": {' > '.join(stages)}"))

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """Start a progress bar.

        Args:
            stage: that starts.
            state: not used.
        """
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.stage = stage
        self.task = self.bar.add_task(stage.name, total=1.0, rate="", loss="")
        self.drawn_at, self.rows = time.monotonic(), 0

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """Update the progress bar, a few times a second.

        Args:
            state: of the stage.
            losses: scalars; `loss` is shown.
        """
        assert self.stage is not None
        self.rows += self.stage.batch_size
        time_of_step = time.monotonic()
        seconds = time_of_step - self.drawn_at
        if self.bar.disable or seconds < REDRAW_SECONDS:
            return
        assert self.task is not None
        rate = f"{self.rows / seconds:,.0f} rows/s"
        completed = min(1.0, self.stage.spent(state))
        self.bar.update(self.task, completed=completed, rate=rate, loss=f"{losses['loss'].item():.4f}")
        self.drawn_at, self.rows = time_of_step, 0

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Print the losses and accuracies.

        Args:
            state: not used.
            metrics: by logged name.
        """
        assert self.stage is not None
        names: list[str] = [name for name in ("train/loss", "val/loss") if name in metrics]
        names += [name for name in metrics if is_accuracy(name)]
        line = "  ".join(f"{name} {metrics[name]:.4f}" for name in names)
        self.console.print(f"{self.stage.name:>16}  {line}", highlight=False, soft_wrap=True)

    def on_message(self, text: str) -> None:
        """Print a message.

        Args:
            text: one line.
        """
        self.console.print(text, highlight=False, soft_wrap=True)


def is_accuracy(name: str) -> bool:
    """Return whether a logged metric is the validation accuracy of a head.

    Args:
        name: val/accuracy, val/TASK.accuracy, val/accuracy/MODALITY ...
    """
    return name.startswith("val/") and name.split("/")[1].rpartition(".")[2] == "accuracy"


def print_result(folder: RunFolder) -> None:
    """Print the metrics of a finished run, the cost of each stage, and the run folder to stdout.

    Args:
        folder: of the run.
    """
    if not is_first_process():
        return
    metrics = folder.read_metrics()
    console = Console()
    console.print(_build_metrics_table(metrics["metrics"]))
    console.print(_build_cost_table(metrics["cost"]))
    console.print(str(folder.path), highlight=False, soft_wrap=True)


def _build_metrics_table(metrics: Mapping[str, Mapping[str, float | None]]) -> Table:
    table = Table("metric", *metrics)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in next(iter(metrics.values()), {}):
        values = [of_split.get(name) for of_split in metrics.values()]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        table.add_row(name, *cells)
    return table


def _build_cost_table(cost: Mapping[str, Any]) -> Table:
    table = Table("stage", "steps", "samples", "seconds", "TFLOP", "learned")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, stage in {**cost["stages"], "all": cost}.items():
        table.add_row(
            name,
            f"{stage['steps']:,}",
            f"{stage['samples']:,}",
            f"{stage['seconds']:.1f}",
            f"{stage['flops'] / 1e12:.3f}",
            f"{stage['trainable_parameters']:,}",
        )
    return table
