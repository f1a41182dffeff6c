"""BYOL: the loss by hand, its average network, and what it is worth."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.byol import Byol
from mmrun.testing.examples import build_batch, build_model
from mmrun.types import Features
from tests.objectives.digits import pretrain
from tests.objectives.single import KINDS, METADATA, SelfSupervised


class First(torch.nn.Module):
    """Projects features to themselves."""

    def forward(self, x, present):
        return x


def test_the_loss_is_the_distance_of_each_prediction_from_the_other_view():
    pretext = Byol(2, projection_dim=2)
    pretext.project = pretext.predict = First()
    right, up = [3.0, 0.0], [0.0, 1.0]
    features = Features(torch.tensor([right, right, right, up]))  # the first views of both rows, then the second
    target = {"projected": torch.tensor([right] * 4), "present": torch.ones(4, dtype=torch.bool)}
    # row 1: both predictions match; row 2: the first matches, the second is at right angles
    assert pretext.loss(features, target).tolist() == pytest.approx([0.0, 2.0])


def build(model):
    return SelfSupervised(
        {"image": lambda dim, **_: Byol(dim, decay=0.9)},
        {"photo": KINDS["photo"]},
        {"photo": 12},
        fusion_dim=6,
        metadata=METADATA,
        model=model,
    )


def test_the_target_follows_the_encoder_after_each_step_and_gets_no_gradient():
    model, data = build_model("photo"), build_batch("photo")
    objective = build(model)
    weight = model.encoder["photo"].linear.weight
    target = objective.pretext["photo"].target_encoder.module.linear.weight
    before = target.clone()
    with torch.no_grad():
        weight.add_(1.0)
    objective(model, data)["loss"].backward()
    assert torch.equal(target, before)
    objective.on_step_end(model)
    assert torch.allclose(target, before + 0.1)
    assert not target.requires_grad
    assert weight.grad.any()
    assert {name.split(".")[0] for name, _ in objective.pretext["photo"].named_parameters()} == {"project", "predict"}


def test_features_of_digits_never_labelled_are_worth_something():
    _, _, gain = pretrain(lambda dim: Byol(dim, crop=0.6, flip=0.0), steps=200, rows=128, lr=2e-3)
    assert gain > 0.08


def test_rows_without_an_image_do_not_count_in_the_statistics_of_the_batch():
    mlp = Byol(3).project
    x, present = torch.randn(4, 3), torch.tensor([True, True, True, False])
    before = mlp(x, present)[:3]
    x[3] = 100.0
    assert torch.equal(mlp(x, present)[:3], before)
    assert torch.allclose(mlp(x[:3], present[:3]), before, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("crop", 0.0, "0.0 is not above 0"), ("decay", 2.0, "2.0 is not between 0 and 1")],
)
def test_wrong_values_are_refused(key, value, message):
    with pytest.raises(ConfigError) as caught:
        Byol(8, **{key: value})
    assert str(caught.value) == f"objective.by_kind.image.{key}: {message}"
