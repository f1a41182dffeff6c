"""An encoder of single items reads several of them in a row."""

from functools import partial

import pytest
import torch
from torch import nn

from mmrun.models.items import ItemEncoder, map_items
from mmrun.types import Encoder, Features

MASK = torch.tensor([[True, True, False], [True, False, False]])


class Mean(Encoder):
    """The mean of a picture, after normalisation over the batch; its rows are tokens."""

    kind, dim = "image", 4

    def __init__(self, with_tokens=True):
        super().__init__()
        self.norm, self.with_tokens = nn.BatchNorm2d(1), with_tokens

    def forward(self, x):
        tokens = self.norm(x).flatten(1, 2)  # [B, 4, 4]
        mask = torch.arange(4).expand(len(x), 4) < 3
        return Features(tokens.mean(1), tokens, mask) if self.with_tokens else Features(tokens.mean(1))


def pictures():
    x = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return {"": x, "items": MASK}


def test_the_mean_of_the_vectors_represents_a_row():
    encoder, x = Mean().eval(), pictures()
    features = ItemEncoder(encoder, "pooled")(x)
    assert features.tokens is None
    torch.testing.assert_close(features.pooled[0], encoder(x[""][0, :2]).pooled.mean(0))
    torch.testing.assert_close(features.pooled[1], encoder(x[""][1, :1]).pooled[0])


def test_tokens_of_all_items_stand_one_after_the_other():
    encoder, x = Mean().eval(), pictures()
    features = ItemEncoder(encoder, "tokens")(x)
    assert features.tokens.shape == (2, 12, 4)
    assert features.mask[0].tolist() == [True, True, True, False] * 2 + [False] * 4
    torch.testing.assert_close(features.tokens[0, 4:7], encoder(x[""][0, 1:2]).tokens[0, :3])
    without = ItemEncoder(Mean(with_tokens=False).eval(), "tokens")(x)
    assert (without.tokens.shape, without.mask.tolist()) == ((2, 3, 4), MASK.tolist())


@pytest.mark.parametrize("pooling", ["pooled", "tokens"])
def test_padding_changes_nothing(pooling):
    x = pictures()
    filled = {**x, "": torch.where(MASK.view(2, 3, 1, 1, 1), x[""], 1e6)}
    encoders = [ItemEncoder(Mean().train(), pooling) for _ in range(2)]
    clean, padded = (encoder(inputs) for encoder, inputs in zip(encoders, (x, filled), strict=True))
    assert torch.equal(clean.pooled, padded.pooled)
    assert torch.equal(encoders[0].encoder.norm.running_mean, encoders[1].encoder.norm.running_mean)


def test_gradients_reach_the_encoder():
    encoder = ItemEncoder(Mean().train(), "tokens")
    features = encoder(pictures())
    (features.pooled.square().sum() + features.tokens.square().sum()).backward()
    assert encoder.encoder.norm.weight.grad.abs().sum() > 0


def test_a_row_without_items_is_zero():
    x = {**pictures(), "items": MASK & torch.tensor([[True], [False]])}
    assert (ItemEncoder(Mean().eval(), "pooled")(x).pooled[1] == 0).all()
    assert (ItemEncoder(Mean().eval(), "pooled")({**x, "items": MASK & False}).pooled == 0).all()


def test_an_encoder_is_fitted_to_real_items():
    class Counting(Mean):
        def fit(self, batches):
            self.counts = [len(batch) for batch in batches]

    encoder = ItemEncoder(Counting(), "pooled")
    encoder.fit([pictures(), pictures()])
    assert encoder.encoder.counts == [3, 3]


def test_functions_of_single_items_change_each():
    x = pictures()
    changed = map_items(partial(torch.add, torch.arange(6.0).view(6, 1, 1, 1)), x)
    assert (changed[""] - x[""]).round()[:, :, 0, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert changed["items"] is MASK
    assert map_items(torch.exp, torch.zeros(2)).tolist() == [1, 1]
