"""Structured pruning of attention: the least important heads are removed."""

import torch
from torch import Tensor, nn

from mmrun.models.compress.filters import Gradients
from mmrun.models.compress.structure import SmallAttention, replace_module


def prune_heads(encoder: nn.Module, share: float, gradients: Gradients) -> int:
    """Remove heads of torch's `MultiheadAttention` (Michel et al., 2019).

    Importance is the L1 norm of the weights that read a head's output or, where gradients are given, how much the loss
    would change without them, to first order.

    Args:
        encoder: changed in place.
        share: of the heads of each attention, above 0 and below 1; one always stays.
        gradients: of the loss, by names of the encoder's parameters.

    Returns:
        The number of attentions that have fewer heads.
    """
    attentions = [
        (name, module) for name, module in encoder.named_modules() if isinstance(module, nn.MultiheadAttention)
    ]
    num_smaller = 0
    for name, attention in attentions:
        count = int(share * attention.num_heads)
        if count == 0 or not can_lose_heads(attention):
            continue
        weight = attention.out_proj.weight.detach()
        gradient = gradients.get(f"{name}.out_proj.weight")
        scores = weight.abs() if gradient is None else (weight * gradient).abs()
        by_head = scores.view(-1, attention.num_heads, attention.head_dim).sum((0, 2))
        kept_heads = by_head.argsort(descending=True)[: attention.num_heads - count].sort().values
        replace_module(encoder, name, keep_heads(attention, kept_heads))
        num_smaller += 1
    return num_smaller


def can_lose_heads(attention: nn.MultiheadAttention) -> bool:
    """Return whether `SmallAttention` can take the place of an attention inside an encoder.

    Args:
        attention: of queries to themselves.
    """
    return bool(attention._qkv_same_embed_dim and attention.batch_first)


@torch.no_grad()
def keep_heads(attention: nn.MultiheadAttention, heads: Tensor) -> SmallAttention:
    """Return an attention with some heads of another.

    Args:
        attention: that `can_lose_heads` accepts.
        heads: their numbers, at least one.
    """
    width = attention.head_dim
    rows = (heads[:, None] * width + torch.arange(width, device=heads.device)).flatten()
    all_rows = torch.cat([rows + part * attention.embed_dim for part in range(3)])
    small = SmallAttention.shaped_like(attention, len(heads))
    small = small.to(attention.out_proj.weight.device, attention.out_proj.weight.dtype)
    small.qkv.weight.copy_(attention.in_proj_weight[all_rows])
    small.out_proj.weight.copy_(attention.out_proj.weight[:, rows])
    if attention.in_proj_bias is not None:
        small.qkv.bias.copy_(attention.in_proj_bias[all_rows])
        small.out_proj.bias.copy_(attention.out_proj.bias)
    return small
