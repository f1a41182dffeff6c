"""MLA: turns that leave each other alone."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.fusions.dynamic import SharedHead
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.balance.alternating import Mla, compute_projections, select_modality
from mmrun.objectives.task import Task
from mmrun.types import ALL
from tests.objectives.balance.methods import compute_gradients, scale
from tests.objectives.balance.pair import TWO, WIDTHS, Vector, build_pair, build_rows


def build_shared():
    torch.manual_seed(0)
    return Multimodal({"a": Vector(), "b": Vector()}, SharedHead(WIDTHS, 2, dim=4), TWO)


def test_a_projection_closes_the_direction_of_the_other_modality():
    means = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    first, second = compute_projections(means, alpha=0.25)
    torch.testing.assert_close(first, torch.tensor([1.0, 0.2, 1.0]).diag())  # 1 - 1 / (0.25 + 1)
    torch.testing.assert_close(second, torch.tensor([0.2, 1.0, 1.0]).diag())


def test_the_recursion_over_several_modalities_is_an_inverse_matrix():
    means = torch.nn.functional.normalize(torch.randn(4, 5), dim=1)
    others = means[1:]
    inverse = torch.linalg.inv(torch.eye(5) + others.T @ others / 0.1)
    torch.testing.assert_close(compute_projections(means, alpha=0.1)[0], inverse, atol=1e-5, rtol=0)


def test_a_modality_without_rows_closes_nothing():
    means = torch.tensor([[0.6, 0.8], [0.0, 0.0]])
    assert compute_projections(means, alpha=0.1)[0].equal(torch.eye(2))


def test_what_one_modality_teaches_leaves_the_mean_logits_of_the_other_as_they_were():
    model, batch = build_shared(), build_rows([[2.0, 0.0], [0.0, 1.0]], [[0.3, 0.1], [0.2, 0.4]], [0, 1])
    balance = Mla(Task(TWO), model, alpha=1e-7)
    mean = model.fusion.project["b"](batch.inputs["b"]).mean(0)
    losses = balance(model, batch)
    losses["loss/alone/b"] = 0 * losses["loss/alone/b"]
    balance.backward(model, losses, scale)
    change = model.fusion.classifier.weight.grad
    assert change.norm() > 0.01
    torch.testing.assert_close(change @ mean, torch.zeros(2), atol=1e-5, rtol=0)


def test_no_encoder_learns_from_another_modality():
    batch, gradients = build_rows([[2.0, 0.0], [0.0, 1.0]], [[0.3, 0.1], [0.2, 0.4]], [0, 1]), []
    for change in (0.0, 5.0):
        model = build_shared()
        other = batch._replace(inputs={"a": batch.inputs["a"], "b": batch.inputs["b"] + change})
        gradients.append(compute_gradients(Mla(Task(TWO), model), model, other)["encoder.a.linear.weight"])
    assert gradients[0].equal(gradients[1])


def test_a_turn_weighs_its_means_by_the_rows_of_its_modality():
    batch = build_rows([[2.0, 0.0], [0.0, 1.0]], [[0.3, 0.1], [0.2, 0.4]], [0, 1])
    batch.present["b"][0] = False
    weights = {
        name: {ALL: torch.tensor(1.0), "a": torch.tensor(1.0), "b": torch.tensor(0.5)} for name in (ALL, "label")
    }
    turn = select_modality(batch._replace(weights=weights), "b")
    assert turn.targets["label"].tolist() == [-100, 1]
    assert turn.present["a"].tolist() == [False, False]
    assert turn.weigh(torch.tensor(3.0), "label").item() == 1.5


def test_mla_without_a_shared_head_is_refused():
    with pytest.raises(ConfigError) as caught:
        Mla(Task(TWO), build_pair(TWO))
    assert str(caught.value) == (
        "balance: mla trains a classifier that all modalities share, and the fusion is Sum; add fusion=mla, or choose "
        "another balance"
    )
