"""Attention compared with that of torch."""

import torch
from torch import nn

from mmrun.models.fusions.transformer import MultiHead


def test_attention_is_torchs_own_with_a_zero_to_read():
    ours = MultiHead(dim=8, num_heads=2, dropout=0.0)
    reference = nn.MultiheadAttention(8, 2, add_zero_attn=True, batch_first=True)
    parts = [ours.query, ours.key, ours.value]
    reference.load_state_dict(
        {
            "in_proj_weight": torch.cat([linear.weight for linear in parts]),
            "in_proj_bias": torch.cat([linear.bias for linear in parts]),
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    x, context = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True, True, False, True, False], [False] * 5])
    read = ours(x, context, mask)
    torch.testing.assert_close(read, reference(x, context, context, key_padding_mask=~mask)[0])
    torch.testing.assert_close(read[1], ours.out.bias.expand(3, 8))
