"""The checkpoints of a stage: to resume from, its best weights, and its result for later runs."""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from mmrun.errors import DamagedError, RunError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.teacher import EMACopy
from mmrun.renamed import translate_train_state
from mmrun.results.folder import RunFolder
from mmrun.run.session import Session
from mmrun.training import checkpoint, reuse
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback
from mmrun.training.placement import Placement
from mmrun.training.stage_cost import StageCost
from mmrun.training.stages import Stage
from mmrun.training.state import TrainState
from mmrun.types import Objective


def load_stage_weights(session: Session, stage: Stage) -> None:
    """Load the final weights of a finished stage into the model.

    Args:
        session: the run.
        stage: finished.

    Raises:
        DamagedError: its checkpoint is not what was written.
        RunError: it does not fit the model.
    """
    load_weights(session.folder, stage, session.model, session.placement)


def load_weights(run: RunFolder, stage: Stage, model: Multimodal, placement: Placement) -> None:
    """Load the final weights of a finished stage into a model.

    Args:
        run: the folder that holds them.
        stage: finished.
        model: of that run, placed on the devices.
        placement: of the model.

    Raises:
        DamagedError: the checkpoint is not what was written.
        RunError: it does not fit the model.
    """
    folder = run.checkpoint_path(stage.name, stage.config.keep)
    _, weights = checkpoint.load(folder, "model")
    checkpoint.load_weights(model, placement.scatter(weights, model.state_dict()), folder)


def discard_damaged(session: Session, stage: Stage) -> None:
    """Remove checkpoints of a stage that are not what was written, and report what it continues from.

    The checkpoint before a damaged one takes its place. Where there is none, or the best weights are damaged, the stage
    is trained again, to the same result.

    Args:
        session: the run.
        stage: that may have checkpoints.
    """
    last, best = (session.folder.checkpoint_path(stage.name, name) for name in ("last", "best"))
    while session.is_writer and checkpoint.exists(last):
        try:
            _verify(last, best if stage.config.keep == "best" else None)
            break
        except DamagedError as error:
            if checkpoint.remove(last):
                session.callback.on_message(f"{error}; {stage.name} continues from the checkpoint before it")
            else:
                session.callback.on_message(f"{error}; {stage.name} is trained again from its start")
                shutil.rmtree(last.parent)
                _forget(session, stage)
    session.accelerator.wait_for_everyone()


def _verify(last: Path, best: Path | None) -> None:
    """Check the checkpoints of a stage; `best` exists once an evaluation was the best so far."""
    checkpoint.verify(last)
    (state,) = checkpoint.load(last)
    if best is not None and (state["finished"] or checkpoint.exists(best)):
        checkpoint.verify(best)


def _forget(session: Session, stage: Stage) -> None:
    """Drop what the log holds of a stage, unless a later one has a checkpoint, which cuts the log when it resumes."""
    names = list(session.stages)
    later = names[names.index(stage.name) + 1 :]
    if not any(session.folder.checkpoint_path(name, "last").exists() for name in later):
        session.folder.log.drop_from(stage.name)


class StageCheckpoints(Callback):
    """The checkpoints of one stage. All processes save together; the one that writes the run folder writes.

    `last` holds everything that resuming needs or, for a finished stage, its result; `best` holds the result of the
    best evaluation. A result is the model's weights (averaged ones where there are any) and the objective's own.

    Args:
        session: the run.
        built: the stage.
        before_save: called before training state is saved; it raises where that state must not be kept.
    """

    def __init__(self, session: Session, built: BuiltStage, before_save: Callable[[], None] = lambda: None) -> None:
        self.session, self.built, self.before_save = session, built, before_save
        self.last = session.folder.checkpoint_path(built.name, "last")
        self.best = session.folder.checkpoint_path(built.name, "best")
        self.keeps_best = built.stage.config.keep == "best"
        self.saved_at = time.monotonic()

    def on_best(self, state: TrainState) -> None:
        """Save the weights of the best evaluation so far."""
        if self.keeps_best:
            with self.final_weights():
                self._write(self.best, self._result(), {"step": state.step, "value": state.best})

    def on_checkpoint(self, state: TrainState) -> None:
        """Save a checkpoint every `trainer.save_every` seconds, and before a signal ends the run."""
        session, now = self.session, time.monotonic()
        is_interrupted = session.interruption.signal is not None
        is_due = is_interrupted or now - self.saved_at >= session.config.trainer.save_every
        if session.placement.broadcast(is_due):
            self.before_save()
            self.save(state)
            self.saved_at = now

    def final_weights(self) -> AbstractContextManager[None]:
        """Use the averaged weights, where there are any, while the context is open."""
        return nullcontext() if self.built.ema is None else self.built.ema.swapped_in()

    def finish(self, cost: StageCost) -> None:
        """Save the result of the finished stage, and what it cost.

        Args:
            cost: of the stage.
        """
        with self.final_weights():
            self._write(self.last, self._result(), {"finished": True, "cost": cost})

    def _result(self) -> dict[str, dict[str, Tensor]]:
        learner = self.built.learner
        return {"model": learner.model.state_dict(), "objective": without_models(learner.objective)}

    def _write(
        self,
        folder: Path,
        parts: dict[str, dict[str, Tensor]],
        state: Mapping[str, object],
        keep_previous: bool = False,
    ) -> None:
        gathered = {part: self.session.placement.gather(tensors) for part, tensors in parts.items()}
        if self.session.is_writer:
            checkpoint.save(folder, gathered, state, keep_previous)

    # ------------------------------------------------------------------------------------------------------ resuming

    def save(self, state: TrainState, folder: Path | None = None) -> None:
        """Save everything that resuming needs.

        Args:
            state: how far training has come.
            folder: None: `last`.
        """
        optimizer, optimizer_values = checkpoint.optimizer_state(self.built.optimizer)
        scaler = self.session.accelerator.scaler
        values = {
            "finished": False,
            "state": state.state_dict(),
            "optimizer": optimizer_values,
            "scaler": None if scaler is None else scaler.state_dict(),
            "log_size": self.session.folder.log.size(),
            "world": self.session.accelerator.num_processes,
        }
        parts = {
            "learner": self.built.learner.state_dict(),
            "optimizer": optimizer,
            "random": checkpoint.random_state(self.session.accelerator.device),
        }
        if self.built.ema is not None:
            parts["ema"] = self.built.ema.averages
        self._write(folder or self.last, parts, values, keep_previous=folder is None)

    def require_best(self, state: TrainState) -> None:
        """Check that some evaluation was the best, where its weights are the result.

        Raises:
            RunError: the monitored value was never finite.
        """
        if self.keeps_best and state.best is None:
            key_path = self.built.stage.key_path
            raise RunError(
                f"{key_path}: {self.built.stage.config.monitor} was not finite in any evaluation, so none is the best; "
                f"monitor another value with {key_path}.monitor, or set {key_path}.keep=last"
            )

    def restore(self, folder: Path | None = None) -> TrainState:
        """Restore everything that was saved, and return how far training had come.

        Args:
            folder: None: `last`.

        Raises:
            DamagedError: the checkpoint is not what was written.
            RunError: it does not fit the stage.
        """
        session, built, folder = self.session, self.built, folder or self.last
        scatter, scaler = session.placement.scatter, session.accelerator.scaler
        values, learner, optimizer, random_states = checkpoint.load(folder, "learner", "optimizer", "random")
        checkpoint.load_weights(built.learner, scatter(learner, built.learner.state_dict()), folder)
        buffers = scatter(optimizer, checkpoint.parameters_of(built.optimizer, optimizer))
        checkpoint.restore_optimizer(built.optimizer, buffers, values["optimizer"])
        if built.ema is not None:
            is_old = (folder / "average.safetensors").exists()  # version 0.1.0
            _, averages = checkpoint.load(folder, "average" if is_old else "ema")
            built.ema.load_state_dict(averages)
        if scaler is not None:
            scaler.load_state_dict(values["scaler"])
        is_old = "progress" in values
        saved = translate_train_state(values["progress"]) if is_old else values["state"]
        state = TrainState.from_state_dict(saved)
        if session.accelerator.num_processes == values["world"] == 1:
            checkpoint.restore_random(random_states, session.accelerator.device)
        else:
            torch.manual_seed(session.noise_seed(built.name, f"/{state.step}"))
        if session.is_writer:
            session.folder.log.truncate(values["log_size"])
        return state

    # ------------------------------------------------------------------------------------------------- reuse by others

    def store(self, folder: Path, cost: StageCost) -> None:
        """Store the parts of the model that the finished stage trained where later runs find them.

        Args:
            folder: in the cache.
            cost: of the stage.
        """
        result = self.session.folder.checkpoint_path(self.built.name, self.built.stage.config.keep)
        _, weights, objective = checkpoint.load(result, "model", "objective")
        parts = trained_parts(self.built.stage)
        tensors = {"model": reuse.tensors_of(weights, parts), "objective": objective}
        checkpoint.save(folder, tensors, {"stage": self.built.name, "cost": cost})

    def load_stored(self, folder: Path) -> StageCost:
        """Finish the stage with a result that an earlier run stored, and return what that cost.

        Args:
            folder: in the cache.
        """
        state, weights, objective = checkpoint.load(folder, "model", "objective")
        learner = self.built.learner
        for module, tensors in ((learner.model, weights), (learner.objective, objective)):
            module.load_state_dict(self.session.placement.scatter(tensors, module.state_dict()), strict=False)
        cost: StageCost = state["cost"]
        cost["reused"] = True
        self._write(self.last, self._result(), {"finished": True, "cost": cost})
        if self.keeps_best:
            self._write(self.best, self._result(), {"reused": True})
        return cost


def trained_parts(stage: Stage) -> set[str]:
    """Return the parts of the model that a stage trains: encoder.image, fusion ...

    Args:
        stage: with its trainable parameters resolved.
    """
    return {reuse.part_of(name) for name in stage.trainable}


def without_models(objective: Objective) -> dict[str, Tensor]:
    """Return an objective's weights without those of whole models and averages that it learns from.

    Args:
        objective: that may hold teachers.
    """
    parts = objective.named_modules()
    prefixes: Iterable[str] = (name for name, part in parts if isinstance(part, Multimodal | EMACopy))
    models = tuple(f"{prefix}." for prefix in prefixes)
    return {name: tensor for name, tensor in objective.state_dict().items() if not name.startswith(models)}
