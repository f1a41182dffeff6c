"""A strong modality that is learned fast, and a weak one that a joint loss leaves behind: it needs more steps."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from mmrun.instantiate import instantiate
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.task import Task
from mmrun.tasks.classification import Classification
from mmrun.types import Batch, Encoder, Features, Objective
from tests.options import load_option

LABEL = {"label": Classification("label", ["x", "y"], np.ones(2))}
KINDS, DIMS = {"strong": "tabular", "weak": "tabular"}, {"strong": 8, "weak": 8}


class Perceptron(Encoder):
    """Two layers."""

    kind, dim = "tabular", 8

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, x):
        return Features(self.layers(x))


def build_rows(number: int) -> Batch:
    """Return rows whose class is the sign of a noisy number in one modality, and exclusive or in the other."""
    label = torch.randint(2, (number,))
    sign = 2.0 * label - 1
    strong, weak = torch.randn(2, number, 8)
    strong[:, 0] += 2 * sign
    weak[:, 0] += 0.5 * weak[:, 0].sign()
    weak[:, 1] = weak[:, 0].sign() * sign * (0.5 + weak[:, 1].abs())
    present = torch.ones(number, dtype=torch.bool)
    return Batch(
        {"strong": strong, "weak": weak}, dict.fromkeys(KINDS, present), {"label": label}, torch.arange(number)
    )


def measure_accuracies(
    fusion: str, balance: Callable[[Multimodal], Objective] | None = None, seed: int = 0
) -> tuple[float, float]:
    """Train on all modalities; return the accuracy on new rows with all of them, and with the weak one alone."""
    torch.manual_seed(seed)
    train, test = build_rows(512), build_rows(1000)
    node = load_option("fusion", fusion)
    encoders = {name: Perceptron() for name in KINDS}
    model = Multimodal(encoders, instantiate(node, "fusion", {"dims": DIMS, "num_outputs": 2}), LABEL)
    objective = Task(LABEL) if balance is None else balance(model)
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.005)
    for _ in range(100):
        optimizer.zero_grad()
        objective.backward(model, objective(model, train), lambda loss: loss)
        optimizer.step()
        objective.on_step_end(model)
    model.eval()
    weak_alone = test._replace(present={**test.present, "strong": torch.zeros(1000, dtype=torch.bool)})
    first, second = (_measure_accuracy(model, batch) for batch in (test, weak_alone))
    return first, second


def _measure_accuracy(model: Multimodal, batch: Batch) -> float:
    return (model(batch)["label"].argmax(1) == batch.targets["label"]).float().mean().item()
