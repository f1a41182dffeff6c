"""Late fusion averages logits, or weights them by their confidence."""

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.late import Late, Qmf
from mmrun.types import Features
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


def test_qmf_weights_logits_by_their_negative_energy():
    module = Qmf({"image": 2, "text": 2}, num_outputs=2, temperature=2.0)
    for linear in module.logits.values():
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    image, text = torch.tensor([[3.0, 1.0]]), torch.tensor([[0.5, 0.5]])
    features = {"image": Features(image), "text": Features(text)}
    yes = torch.tensor([True])
    sure = torch.tensor([3.0, 1.0]).exp().sum().log() / 2 * image
    unsure = (0.5 + torch.tensor(2.0).log()) / 2 * text
    torch.testing.assert_close(module(features, {"image": yes, "text": yes}), sure + unsure)
    torch.testing.assert_close(module(features, {"image": yes, "text": ~yes}), sure)


def test_no_gradient_passes_through_the_confidence():
    module = Qmf({"image": 2}, num_outputs=2, temperature=1.0)
    x = torch.randn(1, 2)
    confidence = module.logits["image"](x).detach().logsumexp(1)
    module({"image": Features(x)}, {"image": torch.tensor([True])}).sum().backward()
    torch.testing.assert_close(module.logits["image"].bias.grad, confidence.expand(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Late(DIMS, num_outputs=2, weights="equal"), "fusion.weights: 'equal' is neither uniform nor learned"),
        (
            lambda: Qmf(DIMS, num_outputs=1),
            "fusion: qmf weights the logits of classes, and the task has one output; choose another fusion",
        ),
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
