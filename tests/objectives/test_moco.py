"""MoCo: its loss by hand, and what it is worth."""

import math

import pytest
import torch

from mmrun.objectives.moco import Moco
from mmrun.testing.examples import DIM, build_batch, build_model
from mmrun.training.grad_accumulation import split
from mmrun.types import Features
from tests.objectives.digits import draw_digit_view, pretrain

RIGHT, UP = [1.0, 0.0], [0.0, 1.0]


def build(queue, **changes):
    pretext = Moco(DIM, torch.nn.Identity, queue=queue, **changes)
    pretext.attach(build_model("photo").encoder["photo"])
    return pretext


def test_the_loss_identifies_the_key_among_those_of_the_queue():
    pretext = build(2, temperature=0.5, projection_dim=2)
    pretext.project = torch.nn.Identity()
    pretext.keys.queue.keys.copy_(torch.tensor([UP, RIGHT]))
    loss = pretext.loss(Features(torch.tensor([[3.0, 0.0], [0.0, 2.0]])), torch.tensor([RIGHT, RIGHT]))
    sure, even = math.exp(2), 1.0
    assert loss.tolist() == pytest.approx([math.log((2 * sure + even) / sure), math.log((2 * even + sure) / even)])


def test_gradients_and_queue_are_the_same_however_the_batch_is_split():
    results = []
    for micro_batches in (1, 4):
        torch.manual_seed(0)
        model, pretext, batch = build_model("photo"), build(12), build_batch("photo")
        encoder = model.encoder["photo"]
        for part in split(batch, micro_batches):
            views, keys = pretext.corrupt(part.inputs["photo"], part.present["photo"])
            (pretext.loss(encoder(views), keys).sum() / 8).backward()
        pretext.update(encoder)
        results.append((encoder.linear.weight.grad, pretext.keys.queue.keys, pretext.keys.queue.position))
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts)
    assert whole.item() == 8


def test_features_of_digits_never_labelled_are_worth_something():
    _, _, gain = pretrain(lambda dim: Moco(dim, draw_digit_view, queue=512), steps=100, rows=64, lr=2e-3)
    assert gain > 0.08
