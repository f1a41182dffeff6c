"""Three classes seen by two modalities of twelve numbers each; few rows have a label, the others are unlabelled."""

import torch
from torch import nn

from mmrun.models.multimodal import Multimodal
from mmrun.tasks.classification import Classification
from mmrun.types import IGNORE_INDEX, Batch, Encoder, Features, Fusion

KINDS = {"a": "tabular", "b": "tabular"}
DIMS = {"a": 16, "b": 16}
TASKS = {"label": Classification("label", ["x", "y", "z"], torch.ones(3).numpy())}
KWARGS = {"tasks": TASKS, "kinds": KINDS}


class Cells(Encoder):
    """One layer."""

    kind, dim = "tabular", 16

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 16)

    def forward(self, x):
        return Features(self.linear(x["numeric"]).relu())


class Sum(Fusion):
    """The sum of the present modalities."""

    dim = 16

    def forward(self, features, present):
        return sum(part.pooled.where(present[name].unsqueeze(1), 0) for name, part in features.items())


def build_model(seed=0):
    """Build a model with random weights."""
    torch.manual_seed(seed)
    return Multimodal({"a": Cells(), "b": Cells()}, Sum(), TASKS)


def draw_rows(number, seed, labelled=None, spread=1.0):
    """Draw rows around the same class centres; those beyond the first `labelled` have no label."""
    centres = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(99))
    draw = torch.Generator().manual_seed(seed)
    target = torch.arange(number) % 3
    inputs = {}
    for name, centre in zip(KINDS, centres, strict=True):
        numeric = centre[target] + spread * torch.randn(number, 12, generator=draw)
        missing = torch.zeros(number, 12, dtype=torch.bool)
        inputs[name] = {"numeric": numeric, "missing": missing, "categorical": torch.zeros(number, 0).long()}
    if labelled is not None:
        target = target.where(torch.arange(number) < labelled, IGNORE_INDEX)
    present = {name: torch.ones(number, dtype=torch.bool) for name in KINDS}
    return Batch(inputs, present, {"label": target}, torch.arange(number))


def train(objective, learner, data, steps=100, seed=0):
    """Train on one batch."""
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam([p for p in learner.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
        objective.on_step_end(learner)
    return learner


@torch.no_grad()
def accuracy(learner, data):
    """Return the share of correct predictions."""
    return (learner(data)["label"].argmax(1) == data.targets["label"]).float().mean().item()
