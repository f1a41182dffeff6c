from contextlib import nullcontext

import torch
from torch import nn

from mmrun.training.learner import Learner
from tests.training.line import Line, Rows, Squares


def test_what_does_not_learn_stays_in_eval_mode():
    encoder = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    head = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    encoder.requires_grad_(False)
    learner = Learner(nn.ModuleDict({"encoder": encoder, "head": head}), nn.Identity())
    learner.train()
    assert [m.training for m in encoder.modules()] == [False] * 4
    assert [m.training for m in head.modules()] == [True] * 3


def test_activations_may_wait_elsewhere_for_the_backward_pass():
    """Gradients are the same, bit for bit."""
    moved = []

    def saving():
        return torch.autograd.graph.saved_tensors_hooks(lambda t: moved.append(t.shape) or t.clone(), lambda t: t)

    gradients = []
    for place in (nullcontext, saving, torch.autograd.graph.save_on_cpu):
        torch.manual_seed(0)
        learner = Learner(Line(), Squares(), place)
        learner(Rows().batch(0))["loss"].backward()
        gradients.append(learner.model.line.weight.grad)
    assert gradients[0].equal(gradients[1])
    assert gradients[0].equal(gradients[2])
    assert (4, 1) in moved
