"""What several benchmarks share: a stage of a run, opened and built, and blocks of its steps."""

from dataclasses import replace
from pathlib import Path

from mmrun.config import RunConfig
from mmrun.results.folder import RunFolder
from mmrun.run.accelerator import build_accelerator
from mmrun.run.build_stage import build_stage
from mmrun.run.opening import open_session
from mmrun.run.session import Session
from mmrun.training import engine
from mmrun.training.budget import StageBudget
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback, NullCallback
from mmrun.training.state import Batches, TrainState


def open_run(config: RunConfig, folder: Path, callback: Callback | None = None) -> Session:
    return open_session(config, RunFolder(folder), callback or NullCallback(), build_accelerator(config))


def open_stage(config: RunConfig, folder: Path, callback: Callback | None = None) -> tuple[Session, BuiltStage]:
    """Open a run of one stage, and build it."""
    session = open_run(config, folder, callback)
    (stage,) = session.stages.values()
    return session, build_stage(session, stage)


def train_steps(
    session: Session,
    built: BuiltStage,
    state: TrainState,
    steps: int,
    batches: Batches | None = None,
    callback: Callback | None = None,
) -> None:
    """Train a block of steps; nothing is evaluated or saved."""
    config = replace(built.config, budget=StageBudget(steps=state.step + steps), evaluate_every=10**9)
    engine.fit(
        built.prepared,
        batches or built.batches,
        built.optimizer,
        config,
        state,
        session.accelerator,
        lambda: (0.0, {}),
        callback or NullCallback(),
    )
