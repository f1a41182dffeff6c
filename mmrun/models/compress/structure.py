"""A compressed model rebuilt from the shapes in which it differs from the one that its config builds."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.compress.int8 import Int8Layer, can_quantize
from mmrun.models.compress.layers import BATCH_NORMS, CONVOLUTIONS, Layer
from mmrun.models.compress.record import Drop, Int8, Structure
from mmrun.types import Encoder, Fusion


class Size(NamedTuple):
    """Width of a layer: channels or features."""

    inputs: int
    outputs: int


def apply_structure(model: nn.Module, structure: Structure) -> None:
    """Change a model to the shapes of a compressed one, in place; the weights are loaded afterwards.

    Args:
        model: as its config builds it.
        structure: may come from someone else.

    Raises:
        ConfigError: the structure does not fit the model, or a layer would be larger than the model's own.
    """
    for drop in structure["drops"]:
        drop_children(_get_module(model, drop["container"]), drop["children"])
    for name, heads in structure["heads"].items():
        attention = _get_module(model, name)
        if not isinstance(attention, nn.MultiheadAttention) or not _is_up_to(heads, attention.num_heads):
            raise ConfigError(f"{name}: cannot have {heads} attention heads")
        replace_module(model, name, SmallAttention.shaped_like(attention, heads))
    for name, rank in structure["ranks"].items():
        layer = _get_module(model, name)
        if not can_factorize(layer) or not _is_up_to(rank, layer.weight[0].numel()):
            raise ConfigError(f"{name}: cannot have rank {rank}")
        replace_module(model, name, build_factors(layer, rank))
    for name, size in structure["sizes"].items():
        resize(_get_module(model, name), size, name)
    for name, dim in structure["dims"].items():
        part = _get_module(model, name)
        if not isinstance(part, Encoder | Fusion) or not _is_up_to(dim, part.dim):
            raise ConfigError(f"{name}: cannot have features of width {dim}")
        part.dim = dim
    if "int8" in structure:
        _apply_int8(model, structure["int8"])


def _apply_int8(model: nn.Module, int8: Int8) -> None:
    for name in int8["layers"]:
        layer = _get_module(model, name)
        if not can_quantize(layer):
            raise ConfigError(f"{name}: cannot compute in 8 bits")
        input_range = (0.0, 0.0) if int8["mode"] == "static" else None
        replace_module(model, name, Int8Layer(layer, int8["scheme"], input_range=input_range))


def describe_structure(model: nn.Module, blank: nn.Module, drops: Sequence[Drop]) -> Structure:
    """Return what is smaller in a compressed model.

    Args:
        model: compressed.
        blank: what the config of the run builds; changed in place.
        drops: every drop of blocks since the model was trained.
    """
    structure: Structure = {"drops": list(drops), "heads": {}, "ranks": {}, "sizes": {}, "dims": {}}
    for name, module in model.named_modules():
        if isinstance(module, SmallAttention):
            structure["heads"][name] = module.num_heads
        elif isinstance(module, Factors):
            structure["ranks"][name] = module.rank
    apply_structure(blank, structure)
    original = dict(_iterate_sizes(blank))
    for name, module in model.named_modules():
        if isinstance(module, Encoder | Fusion) and module.dim != blank.get_submodule(name).dim:
            structure["dims"][name] = module.dim
    for name, size in _iterate_sizes(model):
        if size != original[name]:
            structure["sizes"][name] = list(size)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, Int8Layer)}
    if layers:
        first = next(iter(layers.values()))  # all are quantized in one way
        structure["int8"] = {"mode": first.mode, "scheme": first.scheme, "layers": list(layers)}
    return structure


def _is_up_to(number: object, limit: int) -> bool:
    """Return whether a value of a file is a width of at least 1 and at most so much."""
    return type(number) is int and 1 <= number <= limit


def _get_module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise ConfigError(f"the model has no part '{name}'") from None


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Replace a part of a model.

    Args:
        model: changed in place.
        name: of the part.
        module: takes its place.
    """
    parent, _, child = name.rpartition(".")
    owner = model.get_submodule(parent)
    setattr(owner, child, module.train(getattr(owner, child).training))
    if isinstance(owner, nn.TransformerEncoderLayer):
        owner.activation_relu_or_gelu = 0  # else torch's fused path reads weights past the layers


# --------------------------------------------------------------------------------------------------------------- blocks


def drop_children(container: nn.Module, names: Sequence[str]) -> None:
    """Remove blocks from a list of blocks; numbered ones are numbered anew.

    Args:
        container: a `ModuleList` or `Sequential`, changed in place.
        names: of the blocks.

    Raises:
        ConfigError: it is no such list, has no such block, or would be empty.
    """
    children = dict(container.named_children())
    if not isinstance(container, nn.ModuleList | nn.Sequential) or not set(names) < set(children):
        raise ConfigError(f"blocks {', '.join(names)} cannot be dropped from a {type(container).__name__}")
    remaining = {name: child for name, child in children.items() if name not in names}
    if all(name.isdecimal() for name in children):
        remaining = {str(number): child for number, child in enumerate(remaining.values())}
    for name in children:
        delattr(container, name)
    for name, child in remaining.items():
        container.add_module(name, child)


# ---------------------------------------------------------------------------------------------------------------- sizes


def get_size(module: nn.Module) -> Size | None:
    """Return the width of a layer; None if it is of no kind that can be narrower.

    Args:
        module: any part of a model.
    """
    if isinstance(module, CONVOLUTIONS):
        return Size(module.in_channels, module.out_channels)
    if isinstance(module, nn.Linear):
        return Size(module.in_features, module.out_features)
    if isinstance(module, BATCH_NORMS):
        return Size(module.num_features, module.num_features)
    return Size(*module.size) if isinstance(module, Int8Layer) else None


def _iterate_sizes(model: nn.Module) -> Iterator[tuple[str, Size]]:
    for name, module in model.named_modules():
        size = get_size(module)
        if size is not None:
            yield name, size


def resize(module: nn.Module, size: Sequence[int], name: str) -> None:
    """Make a layer narrower, in place; its weights become zeros.

    Args:
        module: a convolution, linear layer or batch norm.
        size: inputs and outputs.
        name: of the layer, for errors.

    Raises:
        ConfigError: the layer is of another kind, or would be wider.
    """
    present = get_size(module)
    if present is None or len(size) != 2 or not all(map(_is_up_to, size, present)):
        raise ConfigError(f"{name}: cannot have {' -> '.join(map(str, size))} channels")
    inputs, outputs = size
    if isinstance(module, CONVOLUTIONS):
        if module.groups > 1 and not is_depthwise(module):
            raise ConfigError(f"{name}: convolutions in groups keep their channels")
        module.groups = outputs if is_depthwise(module) else 1
        module.in_channels, module.out_channels = inputs, outputs
        _set_zeros(module, "weight", (outputs, inputs // module.groups, *module.weight.shape[2:]))
    elif isinstance(module, nn.Linear):
        module.in_features, module.out_features = inputs, outputs
        _set_zeros(module, "weight", (outputs, inputs))
    elif isinstance(module, BATCH_NORMS):
        module.num_features = outputs
        for part in ("weight", "running_mean", "running_var"):
            _set_zeros(module, part, (outputs,))
    _set_zeros(module, "bias", (outputs,))


def is_depthwise(module: nn.Module) -> bool:
    """Return whether a layer convolves each channel on its own.

    Args:
        module: any part of a model.
    """
    return isinstance(module, CONVOLUTIONS) and 1 < module.groups == module.in_channels == module.out_channels


def _set_zeros(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    tensor = getattr(module, name, None)
    if tensor is None:
        return
    zeros = torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
    setattr(module, name, nn.Parameter(zeros, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else zeros)


# -------------------------------------------------------------------------------------------------------------- factors


class Factors(nn.Module):
    """A linear layer or convolution as the product of two: a narrow one, and one that widens its outputs.

    Args:
        down: [rank outputs], with the kernel, stride and padding of the layer, without a bias.
        up: linear, or with kernels of size 1; it has the bias.
    """

    def __init__(self, down: Layer, up: Layer) -> None:
        super().__init__()
        self.down: Layer = down
        self.up: Layer = up

    @property
    def rank(self) -> int:
        """Width between the two."""
        return len(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both.

        Args:
            x: the input of the layer.

        Returns:
            Its output.
        """
        output: Tensor = self.up(self.down(x))
        return output

    @property
    def weight(self) -> Tensor:
        """The weight of the layer that the two stand for; torch reads it here and there."""
        product = self.up.weight.flatten(1) @ self.down.weight.flatten(1)
        return product.view(len(product), *self.down.weight.shape[1:])

    @property
    def bias(self) -> Tensor | None:
        """The bias of that layer."""
        return self.up.bias


def can_factorize(module: nn.Module) -> TypeGuard[Layer]:
    """Return whether a layer can become a product of two.

    Args:
        module: any part of a model.
    """
    if isinstance(module, CONVOLUTIONS) and type(module) in CONVOLUTIONS:
        return module.groups == 1 and module.padding_mode == "zeros"
    return type(module) is nn.Linear


def build_factors(layer: Layer, rank: int) -> Factors:
    """Build the product of two layers that takes the place of one; its weights are not computed yet.

    Args:
        layer: that `can_factorize` accepts.
        rank: at least 1.
    """
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return Factors(nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias))
    assert isinstance(layer, CONVOLUTIONS)
    build = type(layer)
    down = build(
        layer.in_channels,
        rank,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        bias=False,
    )
    return Factors(down, build(rank, layer.out_channels, 1, bias=bias))


# ------------------------------------------------------------------------------------------------------------ attention


class SmallAttention(nn.Module):
    """Self-attention with fewer heads than its width would have; takes the place of a `nn.MultiheadAttention`.

    Args:
        dim: D, of inputs and outputs.
        num_heads: H.
        head_dim: width of a head.
        dropout: of the attention weights.
        bias: whether the projections have one.
    """

    batch_first = True
    in_proj_bias = None  # torch's transformer layer then leaves its fused path alone
    _qkv_same_embed_dim = False

    def __init__(self, dim: int, num_heads: int, head_dim: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.dropout = num_heads, head_dim, dropout
        self.qkv = nn.Linear(dim, 3 * num_heads * head_dim, bias)
        self.out_proj = nn.Linear(num_heads * head_dim, dim, bias)

    @classmethod
    def shaped_like(cls, attention: nn.MultiheadAttention, num_heads: int) -> "SmallAttention":
        """Build one with the width of another and fewer heads; its weights are not set.

        Args:
            attention: with one width for queries, keys and values.
            num_heads: of the new one.
        """
        bias = attention.in_proj_bias is not None
        return cls(attention.embed_dim, num_heads, attention.head_dim, attention.dropout, bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """Attend.

        Args:
            query: [B, T, D]; it is also the key and the value.
            key: the same.
            value: the same.
            attn_mask: float [T, T], added to the scores.
            key_padding_mask: [B, T], float and added to the scores, or True at padding.
            need_weights: is ignored: no weights are returned.
            is_causal: is ignored: `attn_mask` says it.

        Returns:
            [B, T, D], and None.
        """
        batch, length, _ = query.shape
        parts = self.qkv(query).view(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        mask = _join_masks(attn_mask, key_padding_mask, query)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=mask, dropout_p=dropout)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None


def _join_masks(attn_mask: Tensor | None, padding: Tensor | None, query: Tensor) -> Tensor | None:
    """Return what is added to the scores, [B, 1, T, T] or less."""
    if padding is None:
        return attn_mask
    if padding.dtype == torch.bool:
        padding = torch.zeros_like(padding, dtype=query.dtype).masked_fill(padding, float("-inf"))
    padding = padding[:, None, None, :]
    return padding if attn_mask is None else padding + attn_mask
