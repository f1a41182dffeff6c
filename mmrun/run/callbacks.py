"""The callbacks of a run: logs, trackers, signs of life, averaging, early stopping."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from mmrun.errors import ConfigError, nearest
from mmrun.installation import format_pip_command
from mmrun.results.folder import RunFolder
from mmrun.run.interruption import Interruption
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback
from mmrun.training.compile import uncompile
from mmrun.training.cost import stage_cost
from mmrun.training.dry_run import modality_gradients
from mmrun.training.ema import EMA
from mmrun.training.grad_accumulation import split
from mmrun.training.interpolation import Interpolation
from mmrun.training.state import TrainState
from mmrun.values import PositiveInt

HEARTBEAT = 5.0  # seconds between two updates of status.json
STEPS_AHEAD = 2  # that a GPU may still have to do where seconds are the budget: it never waits for a launch

LOGGED_COSTS = ("epochs", "samples", "seconds", "flops")


class AverageWeights(Callback):
    """Updates the moving average of the weights after each step.

    Args:
        ema: the average.
    """

    def __init__(self, ema: EMA | Interpolation) -> None:
        self.ema = ema

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """Update the average."""
        self.ema.update(state.step)


class Event(Protocol):
    """A point in the work of a device."""

    def synchronize(self) -> None:
        """Wait until the device has reached it."""


class FinishedSteps(Callback):
    """Lets training seconds count finished steps: a GPU may be many steps behind the process that launches them.

    Before the next step is launched, all but the last STEPS_AHEAD ones have to be done, and waiting for them counts as
    training.

    Args:
        record: returns an event that the device reaches when all that was launched is done.
    """

    def __init__(self, record: Callable[[], Event]) -> None:
        self.record = record
        self.launched: deque[Event] = deque()

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """Wait for an earlier step."""
        began = time.perf_counter()
        self.launched.append(self.record())
        if len(self.launched) > STEPS_AHEAD:
            self.launched.popleft().synchronize()
        state.seconds += time.perf_counter() - began


class EarlyStopping(Callback):
    """Ends a stage when the monitored value has not improved for some evaluations.

    Args:
        patience: evaluations without improvement after which the stage ends.
    """

    def __init__(self, patience: PositiveInt) -> None:
        if patience < 1:
            raise ConfigError(f"callbacks.early_stopping.patience: {patience} is not a number of evaluations above 0")
        self.patience = patience

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Stop where the best value is too old."""
        if state.stale >= self.patience:
            state.should_stop = True


class StopAtThreshold(Callback):
    """Ends a stage at the first evaluation whose monitored value is at least as good as a threshold.

    Args:
        threshold: of the monitored value: the lowest accuracy, or the highest loss.
        higher_is_better: direction of the value.
    """

    def __init__(self, threshold: float, higher_is_better: bool) -> None:
        self.threshold, self.higher_is_better = threshold, higher_is_better

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Stop where the best value has reached the threshold."""
        if state.best is None:
            return
        if state.best >= self.threshold if self.higher_is_better else state.best <= self.threshold:
            state.should_stop = True


class ModalityGradients(Callback):
    """Adds to the metrics how the modalities share the gradient, and where they conflict.

    Args:
        built: the stage.
    """

    def __init__(self, built: BuiltStage) -> None:
        self.built = built

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Measure on the next batch."""
        self.built.learner.train()
        batch = split(self.built.batches.batch(state.step), state.grad_accum_steps)[0]
        metrics |= modality_gradients(self.built.learner, batch)


class JsonlLog(Callback):
    """Appends evaluations and events to log.jsonl.

    Args:
        folder: of the run.
        built: the stage.
    """

    def __init__(self, folder: RunFolder, built: BuiltStage) -> None:
        self.folder, self.built = folder, built

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Log the metrics, and what the stage has cost so far."""
        if self.built.is_main_process:
            cost = stage_cost(self.built, state)
            spent = {name: value for name, value in cost.items() if name in LOGGED_COSTS}
            event = {"event": "evaluated", "stage": self.built.name, "step": state.step}
            self.folder.log.append({**event, **spent, **metrics})

    def on_out_of_memory(self, state: TrainState) -> None:
        """Log the new number of micro-batches."""
        event = {"event": "out_of_memory", "stage": self.built.name, "step": state.step}
        self.folder.log.append({**event, "grad_accum_steps": state.grad_accum_steps})


class Heartbeat(Callback):
    """Writes every few seconds to status.json that the run is alive, and how far it has come.

    Args:
        folder: of the run.
        built: the stage.
    """

    def __init__(self, folder: RunFolder, built: BuiltStage) -> None:
        self.folder, self.built = folder, built
        self.state = TrainState()
        self.written_at = time.monotonic()

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """Write that the stage runs."""
        self.state = state
        if self.built.is_main_process:
            self.folder.status.write("running", self.built.name, state.step, 0.0)

    def on_checkpoint(self, state: TrainState) -> None:
        """Write the progress if it is time."""
        self.state = state
        self.beat()

    def beat(self) -> None:
        """Write the progress if it is time."""
        if time.monotonic() - self.written_at >= HEARTBEAT:
            self.write()

    def on_stage_end(self, stage: BuiltStage, state: TrainState) -> None:
        """Write the last step: a short stage has not written any since it started."""
        self.state = state
        self.write()

    def write(self) -> None:
        """Write the progress."""
        if self.built.is_main_process:
            progress = min(1.0, self.built.spent(self.state))
            self.folder.status.write("running", self.built.name, self.state.step, progress)
        self.written_at = time.monotonic()


class StopOnSignal(Callback):
    """Ends the run after a signal, once a checkpoint is saved: it is called last.

    Args:
        interruption: the signal, if one has arrived.
    """

    def __init__(self, interruption: Interruption) -> None:
        self.interruption = interruption

    def on_checkpoint(self, state: TrainState) -> None:
        """Stop where a signal has arrived."""
        self.interruption.stop_if_signalled()


class OutOfMemoryReport(Callback):
    """Reports that a batch is split after memory ran out, and leaves CUDA graphs where they cannot stay.

    Args:
        built: the stage.
        compile_setting: `trainer.compile`.
        callback: receives the messages.
    """

    def __init__(self, built: BuiltStage, compile_setting: bool | str, callback: Callback) -> None:
        self.built, self.compile_setting, self.callback = built, compile_setting, callback

    def on_out_of_memory(self, state: TrainState) -> None:
        """Report, and uncompile where micro-batches would overwrite each other's gradients."""
        name, number = self.built.name, state.grad_accum_steps
        rows = -(-self.built.batch_size // number)
        message = f"{name}: out of memory; each batch is split into {number} micro-batches of {rows} rows"
        self.callback.on_message(message)
        if self.compile_setting == "reduce-overhead":
            uncompile(self.built.learner)
            self.callback.on_message(
                f"{name}: training continues uncompiled: CUDA graphs need steps of one micro-batch"
            )


class Tracker(Callback):
    """Sends the metrics of each evaluation to an experiment tracker of accelerate.

    Args:
        name: tensorboard, wandb, mlflow, comet_ml, aim, clearml, dvclive, swanlab or trackio.

    Raises:
        ConfigError: there is no such tracker, or its package is not installed.
    """

    def __init__(self, name: str) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        known = sorted(str(getattr(key, "value", key)) for key in LOGGER_TYPE_TO_CLASS)
        installed = [str(getattr(key, "value", key)) for key in get_available_trackers()]
        if name not in known:
            choices = ", ".join(known)
            raise ConfigError(f"callbacks: no tracker '{name}'{nearest(name, known)} (there are {choices})")
        if name not in installed:
            raise ConfigError(
                f"callbacks: {name} is not installed; {format_pip_command('install', name)}, or leave it out"
            )
        self.tracker_class: Any = LOGGER_TYPE_TO_CLASS[name]
        self.tracker: Any = None
        self.stage = ""

    def on_run_start(self, folder: Path, stages: Sequence[str]) -> None:
        """Open the tracker."""
        arguments = {"logging_dir": str(folder)} if self.tracker_class.requires_logging_directory else {}
        self.tracker = self.tracker_class(folder.name, **arguments)
        self.tracker.start()

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """Note which stage the next metrics belong to."""
        self.stage = stage.name

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Send the metrics as <stage>/<metric>."""
        self.tracker.log({f"{self.stage}/{name}": value for name, value in metrics.items()}, step=state.step)

    def on_run_end(self, folder: Path) -> None:
        """Close the tracker."""
        self.tracker.finish()
