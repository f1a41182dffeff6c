"""The amount of padding after a text changes neither its features nor what is fused from them."""

import pytest
import torch

from mmrun.data import length_groups
from mmrun.testing.encoders import take_rows
from mmrun.testing.examples import encoder_input, fusion_input
from mmrun.testing.fusions import build_seeded
from tests.models.encoders.test_contract import CASES, build  # noqa: F401 - build is a fixture
from tests.models.fusions.test_contract import CASES as FUSIONS
from tests.models.fusions.test_contract import make_builder  # noqa: F401 - a fixture

TEXTS = [case for case in CASES if case.startswith("text/")]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("case", TEXTS)
def test_a_cropped_text_is_encoded_the_same(case, build):  # noqa: F811
    encoder, x = build(case), take_rows(encoder_input("text"), [1, 2])  # of 6 and of 0 tokens
    cut = length_groups.crop_padding(x)
    assert (x["ids"].shape, cut["ids"].shape) == ((2, 12), (2, 8))
    with torch.no_grad():
        padded, cropped = encoder(x), encoder(cut)
    torch.testing.assert_close(cropped.pooled, padded.pooled, **CLOSE)
    if padded.tokens is not None:
        assert cropped.mask.equal(padded.mask[:, :8])
        torch.testing.assert_close(cropped.tokens[cropped.mask], padded.tokens[padded.mask], **CLOSE)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("count", [2, 3])
def test_cropped_tokens_are_fused_the_same(name, count, make_builder):  # noqa: F811
    fusion = build_seeded(make_builder(name), count)
    features, present = fusion_input(count, tokens=True)
    _, tokens, mask = features["text"]
    longest = int(mask.sum(1).max())
    assert longest < mask.shape[1]
    cut = features["text"]._replace(tokens=tokens[:, :longest], mask=mask[:, :longest])
    with torch.no_grad():
        padded, cropped = fusion(features, present), fusion({**features, "text": cut}, present)
    torch.testing.assert_close(cropped, padded, **CLOSE)
