"""Tokens are brought to one length."""

import pytest
import torch
import torch.nn.functional as F

from mmrun.models.fusions import align


@pytest.mark.parametrize(
    ("aligner", "mode"), [(align.Nearest, {"mode": "nearest-exact"}), (align.Linear, {"mode": "linear"})]
)
@pytest.mark.parametrize("length", [1, 3, 5, 12])
def test_alignment_is_interpolation_of_the_real_tokens(aligner, mode, length):
    tokens = torch.randn(2, 7, 4)
    mask = torch.tensor([[True] * 7, [False, True, True, False, True, True, True]])
    aligned = aligner(length)(tokens, mask)
    for row in range(2):
        real = tokens[row, mask[row]].T[None]  # [1, D, real tokens]
        torch.testing.assert_close(aligned[row], F.interpolate(real, size=length, **mode)[0].T)


def test_four_tokens_on_two_places():
    tokens = torch.tensor([[[0.0], [1.0], [2.0], [3.0]]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert align.Linear(2)(tokens, mask).tolist() == [[[0.5], [2.5]]]
    assert align.Nearest(2)(tokens, mask).tolist() == [[[1.0], [3.0]]]


def test_attention_alignment_reads_only_real_tokens():
    aligner = align.Attention(length=6, dim=8, num_heads=2)
    tokens, mask = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True, True, False, False, False]])
    aligned = aligner(tokens, mask)
    assert aligned.shape == (2, 6, 8)
    torch.testing.assert_close(aligned[1:], aligner(tokens[1:, :2], mask[1:, :2]))
