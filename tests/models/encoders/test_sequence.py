"""The parts of sequence encoders, each compared with a plain implementation."""

import pytest
import torch
from torch import nn

from mmrun.models.encoders.sequence import Blocks, Recurrent, find_last_tokens, masked_mean, unmask_empty_rows

MASK = torch.tensor([[True, True, True, True], [True, True, False, False], [False, False, False, False]])


def test_an_empty_row_reads_its_first_token() -> None:
    assert unmask_empty_rows(MASK).tolist() == [[True] * 4, [True, True, False, False], [True, False, False, False]]


def test_pooling_counts_real_tokens_alone() -> None:
    tokens = torch.tensor([[[1.0], [2.0], [3.0], [6.0]], [[1.0], [2.0], [99.0], [99.0]]])
    assert masked_mean(tokens, MASK[:2]).tolist() == [[3.0], [1.5]]
    assert find_last_tokens(MASK[:2]).tolist() == [3, 1]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_reads_each_row_as_if_alone(cell: str) -> None:
    torch.manual_seed(0)
    recurrent = Recurrent(cell, 3, 8, 1, bidirectional=True, dropout=0.0)
    plain = (nn.GRU if cell == "gru" else nn.LSTM)(3, 4, bidirectional=True, batch_first=True)
    state = dict(recurrent.forwards.state_dict())
    state |= {f"{name}_reverse": value for name, value in recurrent.backwards.state_dict().items()}
    plain.load_state_dict(state)
    x = torch.randn(2, 4, 3)
    pooled, tokens, _ = recurrent(x, MASK[:2])
    for row, length in enumerate([4, 2]):
        expected = plain(x[row : row + 1, :length])[0][0]  # [length, 8]
        torch.testing.assert_close(tokens[row, :length], expected)
        torch.testing.assert_close(pooled[row], torch.cat([expected[-1, :4], expected[0, 4:]]))


def test_blocks_give_the_same_with_and_without_gradients() -> None:
    torch.manual_seed(0)
    blocks, x = Blocks(8, 2, 2, 2.0, 0.0).eval(), torch.randn(2, 4, 8)
    with torch.no_grad():  # torch has another path here
        without_gradients = blocks(x, MASK[:2])
    torch.testing.assert_close(without_gradients[MASK[:2]], blocks(x, MASK[:2])[MASK[:2]], atol=1e-5, rtol=1e-4)


def test_blocks_have_different_initial_weights() -> None:
    first, second = Blocks(8, 2, 2, 2.0, 0.0).layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
