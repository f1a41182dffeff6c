"""Missing modalities are filled, and the fusion is not told."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.fusions.filled import Filled
from mmrun.models.fusions.simple import Concat
from mmrun.types import Features, Fusion

DIMS = {"a": 3, "b": 2}
PRESENT = {"a": torch.tensor([True, True]), "b": torch.tensor([True, False])}


class Record(Fusion):
    """Keeps what it was given."""

    dim = 1

    def forward(self, features, present):
        self.features, self.present = features, present
        return features["b"].pooled


def make_features(filler):
    b = torch.tensor([[1.0, 3.0], [filler, filler]])
    mask = torch.tensor([[True, True], [False, False]])
    return {"a": Features(torch.ones(2, 3)), "b": Features(b, b[:, None].repeat(1, 2, 1), mask)}


@pytest.mark.parametrize("fill", ["zero", "mean", "token", "generate"])
def test_what_stands_in_a_missing_modality_does_not_matter(fill):
    fusion = Filled(Concat(DIMS, 4), DIMS, fill).eval()
    assert torch.equal(fusion(make_features(0.0), PRESENT), fusion(make_features(float("nan")), PRESENT))
    assert fusion.head(5).out_features == 5


def test_zeros_are_one_real_token():
    fusion = Filled(Record(), DIMS, "zero")
    assert fusion(make_features(9.0), PRESENT).tolist() == [[1.0, 3.0], [0.0, 0.0]]
    assert fusion.fusion.present["b"].all()
    assert fusion.fusion.features["b"].mask.tolist() == [[True, True], [True, False]]


def test_the_mean_is_that_of_the_rows_that_have_the_modality():
    fusion = Filled(Record(), DIMS, "mean").train()
    for _ in range(200):
        fusion(make_features(9.0), PRESENT)
    assert fusion.eval()(make_features(9.0), PRESENT)[1].tolist() == pytest.approx([1.0, 3.0])
    assert "mean_b" in fusion.state_dict()


def test_the_token_is_learned():
    fusion = Filled(Record(), DIMS, "token")
    fusion(make_features(9.0), PRESENT).sum().backward()
    assert fusion.token["b"].grad.tolist() == [1.0, 1.0]
    assert fusion.token["a"].grad is None


def test_each_row_gets_what_is_generated_for_it():
    fusion = Filled(Record(), DIMS, "generate").eval()
    features = make_features(9.0)
    fused = fusion(features, PRESENT)
    generated = fusion.generator({"a": features["a"].pooled, "b": features["b"].pooled}, PRESENT)["b"]
    assert fused[0].tolist() == [1.0, 3.0]
    assert fused[1].equal(generated[1])
    assert fusion.fusion.features["b"].tokens[1, 0].equal(generated[1])
    assert fusion.auxiliary_losses(features, PRESENT).keys() == {"a", "b"}


def test_nothing_generates_the_only_modality():
    with pytest.raises(ConfigError) as error:
        Filled(Record(), {"b": 2}, "generate")
    assert str(error.value) == "missing=generate: b is the only modality; choose zero, mean or token"
