"""How much padding stands behind tokens changes nothing in any fusion: batches may be cropped."""

import pytest
import torch

from tests.models.test_fusions import CASES, ROWS, build, example


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("count", [2, 3])
def test_how_long_padding_is_does_not_matter(name, count):
    fusion = build(name, count)
    features, present = example(count, tokens=True)
    _, tokens, mask = features["text"]
    assert mask.sum(1).tolist() == list(range(ROWS))
    cut = features["text"]._replace(tokens=tokens[:, : ROWS - 1], mask=mask[:, : ROWS - 1])
    with torch.no_grad():
        whole, cropped = fusion(features, present), fusion({**features, "text": cut}, present)
    torch.testing.assert_close(cropped, whole, atol=1e-6, rtol=1e-5)
