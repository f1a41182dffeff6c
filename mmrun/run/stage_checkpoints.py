"""What a stage leaves on disk: where to go on from, its best weights, and its result for later runs."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mmrun.models.multimodal import Multimodal
from mmrun.run.session import Session
from mmrun.training import checkpoint, reuse
from mmrun.training.ema import EMA
from mmrun.training.engine import Learner, Progress
from mmrun.training.stages import Stage
from mmrun.types import Objective


def load_stage_weights(session: Session, stage: Stage) -> None:
    """Put the weights with which a finished stage ended into the model."""
    kept = session.folder.checkpoint(stage.name, stage.config.keep)
    _, weights = checkpoint.load(kept, "model")
    checkpoint.load_weights(session.model, session.placement.own(weights, session.model.state_dict()), kept)


class Kept:
    """The checkpoints of one stage. All processes keep together, and the one that writes the run folder writes.

    `last` holds all that training goes on from, and of a finished stage its result; `best` that of the best evaluation.
    A result is the model's weights, averaged ones where there are any, and the objective's own.
    """

    def __init__(
        self, session: Session, stage: Stage, learner: Learner, optimizer: Optimizer, average: EMA | None
    ) -> None:
        self.session, self.stage = session, stage
        self.learner, self.optimizer, self.average = learner, optimizer, average
        self.last = session.folder.checkpoint(stage.name, "last")
        self.best = session.folder.checkpoint(stage.name, "best")

    def weights_that_count(self) -> AbstractContextManager[None]:
        """Let the model have the averaged weights meanwhile, where there are any."""
        return nullcontext() if self.average is None else self.average.in_place()

    def finish(self, ledger: dict[str, Any]) -> None:
        """Keep the result with which the stage ends, and what it cost."""
        with self.weights_that_count():
            self._write(self.last, self._result(), {"finished": True, "cost": ledger})

    def keep_best(self, progress: Progress) -> None:
        """Keep the result of the best evaluation so far."""
        with self.weights_that_count():
            self._write(self.best, self._result(), {"step": progress.step, "figure": progress.best})

    def _result(self) -> dict[str, dict[str, Tensor]]:
        own = without_models(self.learner.objective)
        return {"model": self.learner.model.state_dict(), "objective": own}

    def _write(self, folder: Path, parts: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        whole = {part: self.session.placement.whole(tensors) for part, tensors in parts.items()}
        if self.session.writes:
            checkpoint.save(folder, whole, state)

    # ------------------------------------------------------------------------------------------------- to go on from

    def save(self, progress: Progress) -> None:
        """Keep all that training goes on from."""
        optimizer, rest = checkpoint.optimizer_state(self.optimizer)
        scaler = self.session.accelerator.scaler
        state = {
            "finished": False,
            "progress": progress.state(),
            "optimizer": rest,
            "scaler": None if scaler is None else scaler.state_dict(),
            "log_size": self.session.folder.log_size(),
            "world": self.session.accelerator.num_processes,
        }
        parts = {"learner": self.learner.state_dict(), "optimizer": optimizer, "random": checkpoint.random_state()}
        if self.average is not None:
            parts["average"] = self.average.values
        self._write(self.last, parts, state)

    def restore(self) -> Progress:
        """Put everything back as it was when it was saved, and give how far training had come."""
        session, scaler = self.session, self.session.accelerator.scaler
        state, learner, optimizer, random = checkpoint.load(self.last, "learner", "optimizer", "random")
        own = session.placement.own
        checkpoint.load_weights(self.learner, own(learner, self.learner.state_dict()), self.last)
        buffers = own(optimizer, checkpoint.parameters_of(self.optimizer, optimizer))
        checkpoint.restore_optimizer(self.optimizer, buffers, state["optimizer"])
        if self.average is not None:
            _, values = checkpoint.load(self.last, "average")
            self.average.restore(values)
        if scaler is not None:
            scaler.load_state_dict(state["scaler"])
        progress = Progress.of(state["progress"])
        if session.accelerator.num_processes == state["world"] == 1:
            checkpoint.restore_random(random)
        else:
            torch.manual_seed(session.noise(self.stage.name, f"/{progress.step}"))
        if session.writes:
            session.folder.truncate_log(state["log_size"])
        return progress

    # ------------------------------------------------------------------------------------------------ for later runs

    def store(self, folder: Path, parts: Iterable[str], ledger: dict[str, Any]) -> None:
        """Keep what the stage taught some parts of the model where later runs find it."""
        kept = self.session.folder.checkpoint(self.stage.name, self.stage.config.keep)
        _, weights, objective = checkpoint.load(kept, "model", "objective")
        taught = {"model": reuse.tensors_of(weights, parts), "objective": objective}
        checkpoint.save(folder, taught, {"stage": self.stage.name, "cost": ledger})

    def take(self, folder: Path) -> dict[str, Any]:
        """Finish the stage with what an earlier run stored, and give what that cost."""
        state, weights, objective = checkpoint.load(folder, "model", "objective")
        for module, tensors in ((self.learner.model, weights), (self.learner.objective, objective)):
            module.load_state_dict(self.session.placement.own(tensors, module.state_dict()), strict=False)
        ledger: dict[str, Any] = {**state["cost"], "reused": True}
        self._write(self.last, self._result(), {"finished": True, "cost": ledger})
        if self.stage.config.keep == "best":
            self._write(self.best, self._result(), {"reused": True})
        return ledger


def without_models(objective: Objective) -> dict[str, Tensor]:
    """Give an objective's weights, less those of whole models that it learns from."""
    models = tuple(f"{name}." for name, module in objective.named_modules() if isinstance(module, Multimodal))
    return {name: tensor for name, tensor in objective.state_dict().items() if not name.startswith(models)}
