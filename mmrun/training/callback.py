"""The callback protocol: hooks that the run and the training loop call."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from mmrun.training.built_stage import BuiltStage
from mmrun.training.state import TrainState


class Callback:
    """Base class of everything that observes or steers training. Each hook does nothing unless it is overridden.

    Callbacks are called in order. A callback may add metrics in `on_evaluate_end`, end the stage by setting
    `state.should_stop`, or end the run by raising. It is called in every process; `stage.is_main_process` tells which
    one writes files. One object serves all stages of a run.

    Attributes:
        requested_metrics: validation metrics to compute at every evaluation, though no stage monitors them and they
            take long: auroc, average_precision.
    """

    requested_metrics: frozenset[str] = frozenset()

    def on_run_start(self, folder: Path, stages: Sequence[str]) -> None:
        """A run starts or resumes.

        Args:
            folder: the run folder.
            stages: names of its stages, in order.
        """

    def on_run_end(self, folder: Path) -> None:
        """All stages are trained and `metrics.json` is written.

        Args:
            folder: the run folder.
        """

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """A stage starts, or resumes after `state.step` steps.

        Args:
            stage: with its objects built.
            state: the same object through the whole stage; hooks see it updated.
        """

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """An optimiser step is done.

        Args:
            state: after the step.
            losses: scalars on the device; reading them waits for it.
        """

    def on_out_of_memory(self, state: TrainState) -> None:
        """Memory ran out; this step is repeated in smaller micro-batches, as are all later ones.

        Args:
            state: with the new number, `state.grad_accum_steps`.
        """

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """An evaluation is done.

        Args:
            state: `state.stale` is 0 where the monitored value is the best so far.
            metrics: mean training losses as `train/loss`, validation losses or metrics as `val/accuracy`, and what
                earlier callbacks added. Later callbacks see what is added here.
        """

    def on_best(self, state: TrainState) -> None:
        """The monitored value is the best so far; the model still has the weights that reached it.

        Args:
            state: `state.best` is the value.
        """

    def on_checkpoint(self, state: TrainState) -> None:
        """A step is complete and nothing is in flight: a checkpoint can be saved.

        Args:
            state: what the checkpoint should hold, beside weights, optimiser and random states.
        """

    def on_stage_end(self, stage: BuiltStage, state: TrainState) -> None:
        """A stage has spent its budget or was stopped.

        Args:
            stage: with its final weights.
            state: at the end.
        """

    def on_message(self, text: str) -> None:
        """Something happened that the user should know, in one line.

        Args:
            text: one line, without a line break.
        """

    def on_progress(self, text: str) -> None:
        """Something that takes a while goes on, such as decoding.

        Args:
            text: one line, which replaces the last one.
        """


class NullCallback(Callback):
    """Does nothing."""


class CallbackList(Callback):
    """Calls several callbacks in order.

    Args:
        callbacks: called in this order.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self.callbacks = list(callbacks)
        self.requested_metrics = frozenset[str]().union(*(callback.requested_metrics for callback in self.callbacks))

    def on_run_start(self, folder: Path, stages: Sequence[str]) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_run_start(folder, stages)

    def on_run_end(self, folder: Path) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_run_end(folder)

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_stage_start(stage, state)

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_step_end(state, losses)

    def on_out_of_memory(self, state: TrainState) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_out_of_memory(state)

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_evaluate_end(state, metrics)

    def on_best(self, state: TrainState) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_best(state)

    def on_checkpoint(self, state: TrainState) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_checkpoint(state)

    def on_stage_end(self, stage: BuiltStage, state: TrainState) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_stage_end(stage, state)

    def on_message(self, text: str) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_message(text)

    def on_progress(self, text: str) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_progress(text)
