import pytest
import torch
from torch import nn

from mmrun.training.dry_run import largest_size, modality_gradients, no_side_effects
from mmrun.training.learner import Learner
from mmrun.types import Batch


class Pair(nn.Module):
    """Two encoders of one weight each, added, read by one shared weight."""

    def __init__(self, a, b, shared):
        super().__init__()
        self.encoder = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)})
        self.fusion = nn.Identity()
        self.head = nn.ModuleDict({"label": nn.Linear(1, 1, bias=False)})
        for module, weight in zip([*self.encoder.values(), self.head["label"]], (a, b, shared), strict=True):
            nn.init.constant_(module.weight, weight)

    def forward(self, batch):
        parts = [torch.where(batch.present[m][:, None], self.encoder[m](batch.inputs[m]), 0.0) for m in self.encoder]
        return self.head["label"](sum(parts))


class Error(nn.Module):
    def forward(self, model, batch):
        return {"loss": 0.5 * (model(batch)[:, 0] - batch.targets["label"]).square().mean()}


def batch(a, b, target):
    one = torch.ones(1, dtype=torch.bool)
    inputs = {"a": torch.tensor([[a]]), "b": torch.tensor([[b]])}
    return Batch(inputs, {"a": one, "b": one}, {"label": torch.tensor([target])}, torch.zeros(1, dtype=torch.long))


def test_shares_and_conflicts_are_those_on_paper():
    """loss = (s (a x + b y) - t)^2 / 2 with s = 1, x = 3, y = 1: gradients of a and b are e x and e y, so 3 to 1.

    Alone, a gives the shared weight (a x - t) a x = 3 * 5 > 0 and b (b y - t) b y = -3 * -1 < 0: they pull apart.
    """
    learner = Learner(Pair(1.0, 1.0, 1.0), Error())
    assert modality_gradients(learner, batch(3.0, 1.0, 2.0)) == {
        "gradient/a": 0.75,
        "gradient/b": 0.25,
        "conflict/a-b": -1.0,
    }
    assert modality_gradients(learner, batch(3.0, 1.0, 0.0))["conflict/a-b"] == 1.0


def test_what_does_not_learn_has_no_share():
    learner = Learner(Pair(1.0, 1.0, 1.0), Error())
    learner.model.encoder["b"].requires_grad_(False)
    assert modality_gradients(learner, batch(3.0, 1.0, 2.0))["gradient/b"] == 0.0


def test_no_trace_is_left():
    learner = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    state = torch.get_rng_state()
    with no_side_effects(learner, torch.device("cpu")):
        learner(torch.randn(4, 2)).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in learner.parameters())


@pytest.mark.parametrize(("room", "limit", "found"), [(20, 256, 16), (1000, 256, 256), (1000, 300, 256), (1, 256, 1)])
def test_the_largest_power_of_two_that_fits(room, limit, found):
    def attempt(rows):
        if rows > room:
            raise torch.OutOfMemoryError

    assert largest_size(attempt, limit) == found
