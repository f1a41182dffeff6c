"""Shows how a run trains: a live display where there is a terminal, and a line per evaluation everywhere."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.live import Live
from rich.text import Text
from torch import Tensor

from mmrun.cli.console import Console
from mmrun.cli.output import is_first_process, is_quiet
from mmrun.cli.progress import Clock, StagePosition, SweepPosition, build_display, format_evaluation
from mmrun.config import RunConfig
from mmrun.results.folder import RunFolder
from mmrun.results.formatting import format_duration, format_number
from mmrun.results.index import find_primary_metric
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback
from mmrun.training.stages import expand_stages
from mmrun.training.state import TrainState

REDRAW_SECONDS = 0.25  # reading the loss waits for the device, so it is not read at every step
PROGRESS_SECONDS = 30.0  # between lines about the progress where there is no live display
SMOOTHING = 0.7  # weight of the earlier speeds in the one that is shown
NOTES = ("note: ", "warning: ")  # about the data; a sweep prints them once, before its runs


class Terminal(Callback):
    """Shows the progress of a run on stderr: a live display where it is a terminal, and a line per evaluation.

    Args:
        live: draw the live display if stderr is a terminal.
        shares: of the budget, by stage, in order; empty if the run trains nothing.
        sweep: position of the run; None: it is no part of one.
        now: returns seconds.
    """

    def __init__(
        self,
        live: bool = True,
        shares: Mapping[str, float] | None = None,
        sweep: SweepPosition | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = Console(stderr=True, quiet=is_quiet() or not is_first_process())
        self.sweep, self.is_parallel = sweep, sweep is not None and sweep.is_parallel
        is_live = live and self.console.is_terminal and not self.console.quiet and not self.is_parallel
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if is_live else None
        self.clock = Clock(shares or {}, sweep, now)
        self.stage: BuiltStage | None = None
        self.drawn_at, self.drawn_step = 0.0, 0
        self.progress_at: float | None = None  # when it was shown last; None: nothing has begun
        self.speed: float | None = None  # samples per second
        self.best = ""

    @classmethod
    def for_run(cls, config: RunConfig, sweep: SweepPosition | None = None) -> "Terminal":
        """Return the terminal that shows a run.

        Args:
            config: of the run.
            sweep: position of the run; None: it is no part of one.
        """
        shares = {stage.name: stage.share for stage in expand_stages(config.strategy, config.encoder)}
        return cls(config.trainer.progress, shares, sweep)

    def __enter__(self) -> "Terminal":
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live is not None:
            self.live.stop()

    def on_run_start(self, folder: Path, stages: Sequence[str]) -> None:
        """Print the name of the run and its stages.

        Args:
            folder: of the run.
            stages: names, in order.
        """
        position = "" if self.sweep is None else f"{self.sweep.label}: "
        names = "starts" if self.is_parallel else " > ".join(stages)
        self.console.print(Text.assemble(position, (folder.name, "bold"), f": {names}"), soft_wrap=True)

    def on_run_end(self, folder: Path) -> None:
        """Remove the live display; in a sweep, print how the run ended.

        Args:
            folder: of the run.
        """
        self._clear()
        if self.sweep is not None:
            name, value = find_primary_metric(RunFolder(folder).read_metrics())
            result = "" if value is None else f", test/{name} {format_number(value)}"
            seconds = format_duration(self.clock.run_seconds)
            self._print(f"{self.sweep.label}: {folder.name}: finished in {seconds}{result}")

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """Start to measure the stage.

        Args:
            stage: that starts.
            state: where it starts.
        """
        self.stage, self.best, self.speed = stage, "", None
        self.clock.start_stage(stage.name, min(1.0, stage.spent(state)))
        self.drawn_at, self.drawn_step = self.clock.now(), state.step

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """Redraw the live display, a few times a second.

        Args:
            state: of the stage.
            losses: scalars; `loss` is shown.
        """
        assert self.stage is not None
        self.clock.update(min(1.0, self.stage.spent(state)))
        if self.live is None or self.clock.now() - self.drawn_at < REDRAW_SECONDS:
            return
        self._measure_speed(state, self.stage)
        facts = [f"loss {format_number(losses['loss'].item())}", f"lr {_learning_rate(self.stage):.3g}"]
        facts += [f"{self.speed:,.0f} samples/s", self.best]
        self.live.update(build_display(self.clock, self._position(state), facts), refresh=True)

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Print the losses and the monitored metrics.

        Args:
            state: of the stage.
            metrics: by logged name.
        """
        assert self.stage is not None
        self.clock.update(min(1.0, self.stage.spent(state)))
        is_best, position = state.stale == 0, self._position(state)
        monitored = [f"val/{name}" for name in self.stage.monitored]
        if is_best and state.best is not None:
            name = monitored[0] if len(monitored) == 1 else "mean" if monitored else "val/loss"
            self.best = f"best {name} {format_number(state.best)} at {position.format_epoch().partition('/')[0]}"
        if self.is_parallel:
            return
        names = [name for name in ("train/loss", "val/loss", *monitored) if name in metrics]
        shown = {name: metrics[name] for name in names}
        width = self.console.width if self.console.is_terminal else None
        name_width = max(map(len, self.clock.shares), default=0)
        line = format_evaluation(position, name_width, self.clock.run_seconds, shown, is_best, width)
        self.console.print(line, highlight=False, soft_wrap=width is None)

    def on_message(self, text: str) -> None:
        """Print a message.

        Args:
            text: one line.
        """
        if self.sweep is None or not text.startswith(NOTES):
            self._print(self._label + text)

    def on_progress(self, text: str) -> None:
        """Show in the live display how far something is; where there is none, print it every half minute.

        Args:
            text: one line.
        """
        now = self.clock.now()
        self.progress_at = now if self.progress_at is None else self.progress_at
        if now - self.progress_at < (PROGRESS_SECONDS if self.live is None else REDRAW_SECONDS):
            return
        self.progress_at = now
        if self.live is None:
            self._print(self._label + text)
        else:
            self.live.update(Text(text), refresh=True)

    def on_failure(self, reason: str) -> None:
        """Print why a run of a sweep failed, also with `--quiet`.

        Args:
            reason: one line.
        """
        self._clear()
        self.console.quiet = not is_first_process()
        self._print(f"{self._label}failed: {reason}")

    @property
    def _label(self) -> str:
        return f"{self.sweep.label}: " if self.sweep is not None and self.is_parallel else ""

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=not self.console.is_terminal)

    def _clear(self) -> None:
        if self.live is not None:
            self.live.update("", refresh=True)

    def _measure_speed(self, state: TrainState, stage: BuiltStage) -> None:
        now = self.clock.now()
        speed = (state.step - self.drawn_step) * stage.batch_size / (now - self.drawn_at)
        self.speed = speed if self.speed is None else SMOOTHING * self.speed + (1 - SMOOTHING) * speed
        self.drawn_at, self.drawn_step = now, state.step

    def _position(self, state: TrainState) -> StagePosition:
        assert self.stage is not None
        stage, names, steps = self.stage, list(self.clock.shares), self.stage.config.budget.steps
        return StagePosition(
            name=stage.name,
            number=names.index(stage.name) + 1 if stage.name in names else 1,
            total=max(len(names), 1),
            spent=min(1.0, stage.spent(state)),
            step=state.step,
            epoch=stage.epochs(state.step),
            epochs=None if steps is None else stage.epochs(steps),
        )


def _learning_rate(stage: BuiltStage) -> float:
    """Return the largest learning rate of a stage's parameters."""
    return max((float(group["lr"]) for group in stage.optimizer.param_groups), default=0.0)
