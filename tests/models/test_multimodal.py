"""The multimodal model: names of its parameters, fusion, probes and errors."""

import numpy as np
import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.tasks.classification import Classification
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Encoder, Features, Fusion


class Identity(Encoder):
    kind, dim = "series", 2

    def forward(self, x):
        return Features(x)


class Sum(Fusion):
    dim = 2

    def forward(self, features, present):
        return sum(part.pooled * present[name].unsqueeze(1) for name, part in features.items())


TASKS = {
    "label": Classification("label", ["a", "b", "c"], np.ones(3)),
    "age": Regression("age", ["age"], np.zeros(1), np.ones(1)),
}


def build_model(*modalities):
    return Multimodal({name: Identity() for name in modalities}, Sum(), TASKS)


def make_batch():
    inputs = {"front": torch.tensor([[1.0, 2.0]]), "rear": torch.tensor([[10.0, 20.0]])}
    present = {"front": torch.tensor([True]), "rear": torch.tensor([False])}
    return Batch(inputs, present, {}, torch.tensor([0]))


def test_parameter_names_are_those_of_the_documentation():
    assert [name for name, _ in build_model("front", "rear").named_parameters()] == [
        "head.label.weight",
        "head.label.bias",
        "head.age.weight",
        "head.age.bias",
        "probe.front.label.weight",
        "probe.front.label.bias",
        "probe.front.age.weight",
        "probe.front.age.bias",
        "probe.rear.label.weight",
        "probe.rear.label.bias",
        "probe.rear.age.weight",
        "probe.rear.age.bias",
    ]


def test_forward_fuses_what_is_present_and_predicts_every_task():
    model = build_model("front", "rear")
    outputs = model(make_batch())
    assert torch.equal(outputs["label"], model.head["label"](torch.tensor([[1.0, 2.0]])))
    assert outputs["age"].shape == (1, 1)


def test_unimodal_reads_one_encoder_through_its_probe():
    model = build_model("front", "rear")
    outputs = model.forward_unimodal(make_batch(), "rear")
    assert torch.equal(outputs["label"], model.probe["rear"]["label"](torch.tensor([[10.0, 20.0]])))
    assert outputs["age"].shape == (1, 1)


def test_encode_reads_the_given_modalities():
    assert list(build_model("front", "rear").encode({"rear": torch.zeros(1, 2)})) == ["rear"]


def test_a_fusion_may_bring_its_own_head():
    class Voting(Sum):
        def head(self, num_outputs):
            return nn.Identity()

    voting = Multimodal({"front": Identity(), "rear": Identity()}, Voting(), TASKS)
    assert voting(make_batch())["label"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("name", ["a.b", "", "values", "type", "training"])
def test_a_name_that_no_parameter_can_have_is_rejected(name):
    with pytest.raises(ConfigError) as caught:
        build_model(name)
    expected = f"modality '{name}': this cannot be part of a parameter name; rename it, for example 'my_modality'"
    assert str(caught.value) == expected


def test_a_target_may_have_any_name_that_a_column_has():
    tasks = dict.fromkeys(("p.q", "type", "größe", "a b"), TASKS["label"])
    model = Multimodal({"front": Identity(), "rear": Identity()}, Sum(), tasks)
    assert [name for name, _ in model.head.named_children()] == ["p_q", "type_", "größe", "a b"]
    assert list(model(make_batch())) == list(model.forward_unimodal(make_batch(), "front")) == list(tasks)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.b", "a_b"], "target 'a_b': is called 'a_b' in names of parameters as 'a.b' is; rename the column"),
        (
            ["km/h", "age"],
            "target 'km/h': with several targets, a / would be read as part of a metric's name; rename the column",
        ),
    ],
)
def test_targets_that_would_be_confused_are_refused(names, message):
    with pytest.raises(ConfigError) as caught:
        Multimodal({"front": Identity()}, Sum(), dict.fromkeys(names, TASKS["label"]))
    assert str(caught.value) == message
