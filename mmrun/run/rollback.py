"""What `trainer.on_nan=rollback` does: training goes back to the last evaluation, at half the learning rate."""

import shutil

from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback
from mmrun.training.nan_guard import NonFiniteLossError
from mmrun.training.state import TrainState

MAX_ROLLBACKS = 5  # of a stage


class Rollback(Callback):
    """Saves a checkpoint of each evaluation, and goes back to the last one where a loss is not finite.

    Args:
        checkpoints: of the stage.
    """

    def __init__(self, checkpoints: StageCheckpoints) -> None:
        self.checkpoints = checkpoints
        self.session, self.name = checkpoints.session, checkpoints.built.name
        self.folder = self.session.folder.checkpoint_path(self.name, "finite")
        self.was_evaluated = False

    def on_stage_start(self, stage: BuiltStage, state: TrainState) -> None:
        """Save the start of the stage, unless it resumes."""
        if state.step == 0:
            self.checkpoints.save(state, self.folder)

    def on_evaluate_end(self, state: TrainState, metrics: dict[str, float]) -> None:
        """Let the next checkpoint be the one to go back to."""
        self.was_evaluated = True

    def on_checkpoint(self, state: TrainState) -> None:
        """Save after an evaluation, not where the clock says so: a repeated run goes back to the same step."""
        if self.was_evaluated:
            self.checkpoints.save(state, self.folder)
            self.was_evaluated = False

    def on_stage_end(self, stage: BuiltStage, state: TrainState) -> None:
        """Remove the checkpoint."""
        if self.session.is_writer:
            shutil.rmtree(self.folder, ignore_errors=True)

    def go_back(self, state: TrainState, error: NonFiniteLossError) -> None:
        """Go back to the last evaluation, or the start of the stage, and continue at half the learning rate.

        Args:
            state: changed in place.
            error: why.

        Raises:
            NonFiniteLossError: training went back too often.
        """
        reason, lr_scale, seconds = str(error).partition(";")[0], state.lr_scale / 2, state.seconds
        if lr_scale < 0.5**MAX_ROLLBACKS:
            raise NonFiniteLossError(
                f"{reason}; training went back {MAX_ROLLBACKS} times already: lower the learning rate"
            ) from None
        vars(state).update(vars(self.checkpoints.restore(self.folder)))
        state.lr_scale, state.seconds = lr_scale, seconds  # what is repeated is charged in time
        message = f"{reason}; back to step {state.step}, at {lr_scale:g} times the learning rate"
        self.session.report(self.name, message)
        self.checkpoints.save(state)
