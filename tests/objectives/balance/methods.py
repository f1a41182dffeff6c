"""Builds each method of balance, and computes the gradients that it leaves."""

import torch

from mmrun.compose import list_options
from mmrun.instantiate import instantiate
from mmrun.models.fusions.dynamic import SharedHead
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.task import Task
from mmrun.testing.examples import DIMS, KINDS, TASKS, build_model
from tests.options import load_option

NAMES = [name for name in list_options("balance") if name != "none"]
LABEL, AGE = TASKS["label"], TASKS["age"]


def hold_out_every_tenth(share):
    """Return which of 100 rows are held out: rows 0, 10 ..."""
    return torch.arange(100) % 10 == 0


def tasks_of(name):
    """Return the tasks of the test model; a fusion that decides supports one alone."""
    return {"label": LABEL} if name == "mla" else TASKS


def build_learner(name, all_tokens=False):
    """Return the test model, with the fusion that a balance needs; `all_tokens`: every encoder has tokens."""
    learner = build_model(all_tokens=all_tokens)
    if name != "mla":
        return learner
    torch.manual_seed(0)
    return Multimodal(dict(learner.encoder.items()), SharedHead(DIMS, LABEL.num_outputs, dim=16), tasks_of(name))


def get_kwargs(learner, tasks=TASKS):
    stage = {"model": learner, "tasks": tasks, "kinds": KINDS, "dims": DIMS, "fusion_dim": 6}
    return {**stage, "hold_out_rows": hold_out_every_tenth}


def build(name, learner, tasks=None, **changes):
    tasks = tasks_of(name) if tasks is None else tasks
    torch.manual_seed(1)
    return instantiate(
        {**load_option("balance", name), **changes},
        "balance",
        get_kwargs(learner, tasks),
        objective=Task(tasks),
    )


def scale(loss):
    return loss


def compute_gradients(objective, learner, data, scale=scale):
    """Add the gradients of one batch, with the same random masks each time; return those of the model."""
    torch.manual_seed(2)
    objective.backward(learner, objective(learner, data), scale)
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}


def all_close(first, second, **tolerance):
    return first.keys() == second.keys() and all(torch.allclose(first[n], second[n], **tolerance) for n in first)
