"""Late fusion averages logits."""

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.late import Late
from tests.models.fusions.rows import DIMS, NO, make_rows


@pytest.mark.parametrize("weights", ["uniform", "learned"])
def test_late_averages_the_logits_of_what_is_present(weights):
    x, features, present = make_rows("image", "text", "audio")
    module = Late(DIMS, num_outputs=2, weights=weights)
    head = module.head(2)
    nn.init.constant_(head.bias, 0.5)
    share = torch.tensor([0.5, 0.5])
    if module.scores is not None:
        module.load_state_dict({**module.state_dict(), "scores": torch.tensor([1.0, 2.0, 3.0])})
        share = torch.tensor([1.0, 2.0]).softmax(0)
    logits = [x[name] @ module.logits[name].weight.T for name in ("image", "text")]
    fused = head(module(features, {**present, "audio": NO}))
    torch.testing.assert_close(fused, share[0] * logits[0] + share[1] * logits[1] + 0.5)
    assert head(module(features, dict.fromkeys(DIMS, NO))).tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Late(DIMS, num_outputs=2, weights="equal"), "fusion.weights: 'equal' is neither uniform nor learned"),
        (
            lambda: Late(DIMS, num_outputs=2).head(3),
            "fusion: late fusion computes 2 logits, but one task has 3 outputs: it supports a single task;"
            " choose another fusion",
        ),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
