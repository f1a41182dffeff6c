"""Classes told by words alone: what an aligned space says of rows, without any label (CLIP: Radford et al., 2021)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.loader import Loader
from mmrun.data.store import open_column
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.objectives.contrastive import Contrastive
from mmrun.run import build
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.tasks.classification import Classification
from mmrun.training import checkpoint
from mmrun.training.stages import Stage
from mmrun.types import Batch

TEMPERATURE = 0.07  # turns cosines into probabilities; the most probable class does not depend on it


def zero_shot(session: Session, split: str, wanted: Sequence[str]) -> dict[str, Any]:
    """Return, by modality, the figures of naming each row by the class whose prompt lies nearest in the aligned space.

    `wanted` holds a prompt for each class in order, or one with {} where the class's name is to stand. The encoders and
    projections are those with which the last contrastive stage ended; the model is left so.
    """
    stage, objective = _aligned(session)
    text = next(modality for modality in objective.project if session.data.kinds[modality] == "text")
    task = next((task for task in session.data.tasks.values() if isinstance(task, Classification)), None)
    if task is None:
        raise ConfigError(f"--zero-shot: needs a classification (there are {', '.join(session.data.tasks)})")
    prompts = _prompts(wanted, task.classes)
    session.model.eval()
    with torch.no_grad():
        anchors = _project(session, objective, text, _read(session, text, prompts))  # [C, D]
        others = [modality for modality in objective.project if modality != text]
        figures = {modality: _figures(session, objective, modality, anchors, split, task) for modality in others}
    return {"stage": stage.name, "split": split, "prompts": prompts, "metrics": figures}


def _aligned(session: Session) -> tuple[Stage, Contrastive]:
    """Find the last stage that aligned text with something, and load what it learned."""
    for stage in reversed(session.stages.values()):
        objective = build.build_objective(session.config, stage, session.data, session.model)
        if isinstance(objective, Contrastive) and "text" in {session.data.kinds[m] for m in objective.project}:
            load_stage_weights(session, stage)
            kept = session.folder.checkpoint_path(stage.name, stage.config.keep)
            _, weights = checkpoint.load(kept, "objective")
            checkpoint.load_weights(objective, weights, kept)
            return stage, objective.to(session.accelerator.device).eval()
    raise ConfigError(
        f"--zero-shot: no stage of {session.folder.name} aligned text with another modality; "
        "strategy=contrastive_then_finetune has one that does"
    )


def _prompts(wanted: Sequence[str], classes: Sequence[str]) -> list[str]:
    if len(wanted) == 1 and "{}" in wanted[0]:
        return [wanted[0].replace("{}", name) for name in classes]
    if len(wanted) != len(classes):
        raise ConfigError(
            f"--zero-shot: {len(wanted)} prompts for {len(classes)} classes ({', '.join(classes)}); "
            "give one each, commas between them, or one with {} for the class's name"
        )
    return list(wanted)


def _read(session: Session, text: str, prompts: list[str]) -> Batch:
    """Read prompts as the rows were read."""
    column = open_column(Column("text", prompts), session.data.preprocessors[text], "prompts", Path(), 2**30)
    rows = torch.arange(len(prompts)).numpy()
    return next(Loader({text: column}, {}, rows, len(prompts), device=session.accelerator.device).ordered())


def _project(session: Session, objective: Contrastive, modality: str, batch: Batch) -> Tensor:  # [B, D]
    with session.accelerator.autocast():
        pooled = session.model.encode({modality: batch.inputs[modality]})[modality].pooled
        return F.normalize(objective.project[modality](pooled).float(), dim=-1)


def _figures(
    session: Session, objective: Contrastive, modality: str, anchors: Tensor, split: str, task: Classification
) -> dict[str, float]:
    scores, targets = [], []
    for batch in session.ordered(split, [modality]):
        present = batch.present[modality]
        near = _project(session, objective, modality, batch) @ anchors.T / TEMPERATURE
        scores.append(near.softmax(-1)[present].cpu())
        targets.append(batch.targets[task.name][present].cpu())
    return task.metrics(torch.cat(scores).numpy(), torch.cat(targets).numpy())
