"""Zero-shot classification (CLIP: Radford et al., 2021): the class whose prompt is nearest in an aligned space."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.data.loader import Loader
from mmrun.data.store import open_column
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.objectives.contrastive import Contrastive
from mmrun.run import build
from mmrun.run.metrics import Metrics
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import load_stage_weights
from mmrun.tasks.classification import Classification
from mmrun.training import checkpoint
from mmrun.training.stages import Stage
from mmrun.types import Batch

TEMPERATURE = 0.07  # turns cosines into probabilities; the most probable class does not depend on it


class ZeroShot(TypedDict):
    """Result of a zero-shot classification.

    Attributes:
        stage: the stage that aligned the modalities.
        split: the rows evaluated.
        prompts: one per class.
        metrics: by modality.
    """

    stage: str
    split: str
    prompts: list[str]
    metrics: dict[str, Metrics]


def classify_zero_shot(session: Session, split: str, prompts: Sequence[str]) -> ZeroShot:
    """Classify each row by the nearest prompt in the space of the last contrastive stage, without any labels.

    Args:
        session: the run, opened again. Its model is left with the weights of that stage.
        split: val or test.
        prompts: one per class, in order; or a single one with {} in place of the name of the class.

    Returns:
        metrics of every modality that was aligned with text.

    Raises:
        ConfigError: the run has no classification task or no such stage, or the number of prompts is wrong.
    """
    stage, objective = _load_aligned_stage(session)
    text = next(modality for modality in objective.project if session.data.kinds[modality] == "text")
    task = next((task for task in session.data.tasks.values() if isinstance(task, Classification)), None)
    if task is None:
        raise ConfigError(f"--zero-shot: needs a classification task (the run has {', '.join(session.data.tasks)})")
    class_prompts = _expand_prompts(prompts, task.classes)
    session.model.eval()
    metrics: dict[str, Metrics] = {}
    with torch.no_grad():
        anchors = _project(session, objective, text, _read_prompts(session, text, class_prompts))  # [C, D]
        for modality in objective.project:
            if modality != text:
                metrics[modality] = _evaluate_modality(session, objective, modality, anchors, split, task)
    return {"stage": stage.name, "split": split, "prompts": class_prompts, "metrics": metrics}


def _load_aligned_stage(session: Session) -> tuple[Stage, Contrastive]:
    """Find the last stage that aligned text with another modality, and load its weights."""
    for stage in reversed(session.stages.values()):
        objective = build.build_objective(session.config, stage, session.data, session.model)
        if isinstance(objective, Contrastive) and "text" in {session.data.kinds[m] for m in objective.project}:
            load_stage_weights(session, stage)
            folder = session.folder.checkpoint_path(stage.name, stage.config.keep)
            _, weights = checkpoint.load(folder, "objective")
            checkpoint.load_weights(objective, weights, folder)
            return stage, objective.to(session.accelerator.device).eval()
    raise ConfigError(
        f"--zero-shot: no stage of {session.folder.name} aligned text with another modality; "
        "train a run of strategy=contrastive_then_finetune"
    )


def _expand_prompts(prompts: Sequence[str], classes: Sequence[str]) -> list[str]:
    """Return one prompt per class."""
    if len(prompts) == 1 and "{}" in prompts[0]:
        return [prompts[0].replace("{}", name) for name in classes]
    if len(prompts) != len(classes):
        raise ConfigError(
            f"--zero-shot: {len(prompts)} prompts for {len(classes)} classes ({', '.join(classes)}); "
            "pass one per class, separated by commas, or a single one with {} in place of the class name"
        )
    return list(prompts)


def _read_prompts(session: Session, text: str, prompts: list[str]) -> Batch:
    """Preprocess the prompts like the rows of a text modality."""
    column = open_column(Column("text", prompts), session.data.preprocessors[text], "prompts", Path(), 2**30)
    rows = torch.arange(len(prompts)).numpy()
    return next(Loader({text: column}, {}, rows, len(prompts), device=session.accelerator.device).ordered())


def _project(session: Session, objective: Contrastive, modality: str, batch: Batch) -> Tensor:  # [B, D]
    """Return the normalized projection of one modality into the aligned space."""
    with session.accelerator.autocast():
        pooled = session.model.encode({modality: batch.inputs[modality]})[modality].pooled
        return F.normalize(objective.project[modality](pooled).float(), dim=-1)


def _evaluate_modality(
    session: Session, objective: Contrastive, modality: str, anchors: Tensor, split: str, task: Classification
) -> Metrics:
    """Return the metrics on the rows that have a modality."""
    scores, targets = [], []
    for batch in session.ordered(split, [modality]):
        present = batch.present[modality]
        logits = _project(session, objective, modality, batch) @ anchors.T / TEMPERATURE  # [B, C]
        scores.append(logits.softmax(-1)[present].cpu())
        targets.append(batch.targets[task.name][present].cpu())
    return task.metrics(torch.cat(scores).numpy(), torch.cat(targets).numpy())
