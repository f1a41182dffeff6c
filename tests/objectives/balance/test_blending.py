"""Gradient blending on literal cases."""

import copy

import pytest
import torch

from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.blending import GradientBlending
from mmrun.objectives.task import Task
from mmrun.types import Batch, Encoder, Features, Fusion
from tests.objectives.balance.methods import all_close, compute_gradients, hold_out_every_tenth, scale
from tests.objectives.balance.pair import BOTH, TWO, WIDTHS, build_pair, build_rows


def build_blending(**changes):
    options = {"every": 1, "decay": 0.0, "least": 0.0, **changes}
    return GradientBlending(Task(TWO), TWO, BOTH, WIDTHS, hold_out_every_tenth, **options)


def test_blending_weighs_by_the_literal_ratio():
    balance, all_of_them = build_blending(), torch.ones(2, 3, dtype=torch.bool)
    balance.update(torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), all_of_them)
    assert balance.weight.tolist() == pytest.approx([1 / 3] * 3)
    # joint: gains 0.4, overfits 0.2; a: gains 0.4, overfits 0.4; b: held-out rows get worse
    balance.update(torch.tensor([[0.4, 0.2, 0.1], [0.6, 0.6, 1.2]]), all_of_them)
    merits = [0.4 / 0.2**2, 0.4 / 0.4**2, 0.0]
    assert balance.weight.tolist() == pytest.approx([m / sum(merits) for m in merits], rel=1e-4)
    unchanged = balance.weight.clone()
    balance.update(torch.tensor([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]]), all_of_them)  # nothing generalises
    assert torch.equal(balance.weight, unchanged)


def test_blending_keeps_a_share_for_equal_parts_and_batches_without_held_out_rows_do_not_count():
    balance = build_blending(least=0.3)
    for gap in (0.0, 0.2, 0.4):
        counted = torch.tensor([[True, True, True], [gap < 0.4] * 3])
        balance.update(torch.tensor([[1 - 2 * gap] * 3, [1 - gap, 1.0, 1.0]]), counted)
        if gap == 0.2:
            assert balance.weight.tolist() == pytest.approx([0.8, 0.1, 0.1])
    assert balance.average[1, 0].item() == pytest.approx(0.8)


def test_blending_never_trains_on_held_out_rows():
    learner, balance = build_pair(TWO), build_blending()
    a, b = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [[0.3, 0.1], [0.2, 0.4], [0.0, 0.0]]
    first = compute_gradients(copy.deepcopy(balance), learner, build_rows(a, b, [0, 1, 1], [10, 11, 12]))
    learner.zero_grad()
    assert all_close(
        first, compute_gradients(copy.deepcopy(balance), learner, build_rows(a, b, [1, 1, 1], [10, 11, 12]))
    )
    learner.zero_grad()
    assert not all_close(first, compute_gradients(balance, learner, build_rows(a, b, [1, 1, 1], [9, 11, 12])))


def test_blending_gives_a_modality_that_overfits_less_weight():
    """`a` is noise, which can only be memorised; `b` holds the label."""
    torch.manual_seed(0)
    label = torch.randint(0, 2, (60,))
    wide = {"a": 40, "b": 40}
    noise = torch.randn(60, 40)
    informative = torch.randn(60, 40) * 0.1 + (label * 2.0 - 1).unsqueeze(1)
    present = torch.ones(60, dtype=torch.bool)
    data = Batch({"a": noise, "b": informative}, {"a": present, "b": present}, {"label": label}, torch.arange(60))

    class Same(Encoder):
        kind, dim = "tabular", 40

        def forward(self, x):
            return Features(x)

    class Side(Fusion):
        dim = 80

        def forward(self, features, present):
            return torch.cat([f.pooled for f in features.values()], 1)

    learner = Multimodal({"a": Same(), "b": Same()}, Side(), TWO)
    balance = GradientBlending(Task(TWO), TWO, BOTH, wide, hold_out_every_tenth, every=10, decay=0.5, least=0.0)
    optimizer = torch.optim.Adam([*learner.parameters(), *balance.parameters()], lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        balance.backward(learner, balance(learner, data), scale)
        optimizer.step()
        balance.on_step_end(learner)
    _, a, b = balance.weight.tolist()
    assert a < 0.1 * b
