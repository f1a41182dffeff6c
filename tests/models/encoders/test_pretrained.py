"""One example is encoded before anything trains."""

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.pretrained import encode_example


def test_an_example_is_encoded_in_eval_mode_and_leaves_training_mode() -> None:
    dropout = nn.Dropout(0.5)
    assert torch.equal(encode_example(dropout, torch.ones(1, 100), "net cannot read it"), torch.ones(1, 100))
    assert dropout.training


def test_an_example_that_cannot_be_encoded_is_an_error_with_the_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        encode_example(nn.Embedding(4, 2), torch.tensor([4]), "net cannot read 1 token of 5")
    assert str(caught.value) == "net cannot read 1 token of 5 (index out of range in self)"
