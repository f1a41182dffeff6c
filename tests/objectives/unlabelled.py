"""Objectives that learn from rows without a target."""

import torch

from mmrun.objectives.mean_teacher import MeanTeacher
from mmrun.objectives.pseudo_label import PseudoLabel
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, TASKS, build_batch

NAN = float("nan")


def hide_half(rows=8):
    """Return a batch in which every second row has no target."""
    data = build_batch(rows=rows)
    odd = torch.arange(rows) % 2 == 1
    targets = {"label": data.targets["label"].where(~odd, -100), "age": data.targets["age"].where(~odd, NAN)}
    return data._replace(targets=targets)


def build_pseudo_label(teacher_model, **changes):
    return PseudoLabel(Task, **{"tasks": TASKS, "kinds": KINDS, "model": teacher_model, **changes})


def build_mean_teacher(teacher_model, **changes):
    return MeanTeacher(Task, **{"tasks": TASKS, "kinds": KINDS, "model": teacher_model, "drop_prob": 0.0, **changes})
