"""Objectives that compare rows, in several processes."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from mmrun.objectives.contrastive import Contrastive, InfoNCE, PairwiseSigmoid
from mmrun.objectives.gather import gather_rows, select_own_rows
from mmrun.objectives.simclr import SimClr
from mmrun.testing.examples import DIMS, build_batch, build_model
from mmrun.types import Features

NAMES = ("photo", "cells")


def select_rows(batch, rows):
    """Return some rows of a batch."""
    inputs = {"photo": batch.inputs["photo"][rows]}
    inputs["cells"] = {name: part[rows] for name, part in batch.inputs["cells"].items()}
    present = {name: mask[rows] for name, mask in batch.present.items()}
    return batch._replace(inputs=inputs, present=present, index=batch.index[rows])


def compute_gradients(rows):
    """Return the losses of some rows, and their gradients at the encoder's weights."""
    results = []
    for pair_loss in (InfoNCE, PairwiseSigmoid):
        model, batch = build_model(*NAMES), build_batch(*NAMES)
        batch.present["photo"][0] = False
        torch.manual_seed(1)
        objective = Contrastive(pair_loss, {"photo": "image", "cells": "tabular"}, DIMS, dim=16)
        loss = objective(model, select_rows(batch, rows))["loss"]
        loss.backward()
        results.append((loss.detach(), model.encoder["photo"].linear.weight.grad))
    model, batch = build_model(*NAMES), build_batch(*NAMES)
    torch.manual_seed(1)
    objective = Contrastive(InfoNCE, {"photo": "image", "cells": "tabular"}, DIMS, dim=16, queue=10, model=model)
    loss = objective(model, select_rows(batch, rows))["loss"]
    loss.backward()
    objective.on_step_end(model)
    results.append((loss.detach(), model.encoder["photo"].linear.weight.grad, objective.keys["photo"].queue.keys))
    torch.manual_seed(1)
    pretext, views = SimClr(4), torch.randn(2, 8, 4).requires_grad_()
    target = torch.ones(8, dtype=torch.bool)
    own = Features(torch.cat([views[0, rows], views[1, rows]]))
    loss = pretext.loss(own, target[rows]).mean()
    loss.backward()
    return [*results, (loss.detach(), pretext.project[0].weight.grad)]


def work(rank, port, expected):
    """Compare the mean over both processes, each with half of the rows, with one process that has all."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    own = torch.arange(8)[4 * rank : 4 * rank + 4]
    assert torch.equal(gather_rows(own), torch.arange(8))
    assert torch.equal(select_own_rows(gather_rows(own)), own)
    for values, references in zip(compute_gradients(own), expected, strict=True):
        for value, reference in zip(values, references, strict=True):
            dist.all_reduce(value)
            torch.testing.assert_close(value / 2, reference, rtol=1e-4, atol=1e-6)
    dist.destroy_process_group()


def test_two_processes_have_the_loss_and_the_gradients_of_one():
    arguments = (29577, compute_gradients(torch.arange(8)))
    # not by forks: after an export to ONNX in this process, they could not train
    torch.multiprocessing.start_processes(work, arguments, nprocs=2, start_method="spawn")


def test_one_process_has_all_rows():
    rows = torch.randn(3, 2)
    assert gather_rows(rows) is rows
    assert select_own_rows(rows) is rows


@pytest.mark.parametrize("training", [True, False])
def test_a_single_process_evaluates_as_it_trains(training):
    torch.manual_seed(0)
    pretext, features = SimClr(4), Features(torch.randn(6, 4))
    expected = pretext.loss(features, torch.ones(3, dtype=torch.bool))
    losses = pretext.train(training).loss(features, torch.ones(3, dtype=torch.bool))
    assert losses.tolist() == expected.tolist()
