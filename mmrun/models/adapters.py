"""Adapters: a few parameters that learn inside an encoder whose own stay as they are, in every stage of a run.

Each changes an encoder in place and tells whether it could. One that it cannot adapt learns as a whole, or not at all
(`fallback`: learn | stay).
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.pretrained import try_out
from mmrun.models.encoders.sequence import Blocks
from mmrun.types import Encoder


def lora(
    encoder: Encoder,
    rank: int = 8,
    alpha: float = 16.0,
    dropout: float = 0.0,
    convolutions: bool = True,
    fallback: str = "learn",
) -> bool:
    """Add a product of two thin matrices to every linear layer and 2D convolution (LoRA: Hu et al., 2022), by peft.

    The second matrix is zero at first. None stand where a layer's weights are read by others, as those of attention in
    torch's own transformer layers, nor beside convolutions in groups or of kinds of their own.
    """
    _at_least_one("rank", rank)
    found = {
        name: module
        for name, module in encoder.named_modules()
        if _is_linear(module) or (convolutions and type(module) is nn.Conv2d and module.groups == 1)
    }
    if not found:
        return _leave(encoder, fallback)
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise ConfigError("strategy.adapt: LoRA needs peft; pip install 'mmrun[lora]'") from None
    _freeze(encoder)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="|".join(map(re.escape, found)),
        fan_in_fan_out=any(not isinstance(module, nn.Linear | nn.Conv2d) for module in found.values()),  # GPT-2's kind
    )
    inject_adapter_in_model(config, encoder)
    return True


class Bottleneck(nn.Module):
    """A layer, and a small residual network after it that is zero at first."""

    def __init__(self, layer: nn.Module, width: int, dim: int) -> None:
        super().__init__()
        self.layer = layer
        self.adapter_down = nn.Linear(width, dim)
        self.adapter_up = nn.Linear(dim, width)
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_up.bias)

    @property
    def weight(self) -> Any:
        """The layer's own: T5 asks for its type."""
        return self.layer.weight

    def forward(self, x: Tensor) -> Tensor:  # [..., width of what the layer reads] -> [..., width]
        """Apply both."""
        given = self.layer(x)
        return given + self.adapter_up(torch.relu(self.adapter_down(given)))


def bottlenecks(encoder: Encoder, layers: Sequence[str], dim: int = 16, fallback: str = "learn") -> bool:
    """Put a bottleneck after the last linear layer of each attention and each MLP (Houlsby et al., 2019).

    `layers`: globs over the names of such layers within an encoder. Of torch's own transformer layers only the MLPs can
    have one.
    """
    _at_least_one("dim", dim)
    found = {
        name: module
        for name, module in encoder.named_modules()
        if _is_linear(module) and any(fnmatchcase(f".{name}", glob) for glob in layers)
    }
    if not found:
        return _leave(encoder, fallback)
    _freeze(encoder)
    for name, module in found.items():
        parent, _, own = name.rpartition(".")
        weight: Any = module.weight
        width = weight.shape[0] if isinstance(module, nn.Linear) else weight.shape[1]
        setattr(encoder.get_submodule(parent), own, Bottleneck(module, width, dim))
    return True


class Prompt(nn.Module):
    """Vectors that are learned, among the tokens on their way through a transformer; they do not come out of it."""

    def __init__(self, num_vectors: int, dim: int) -> None:
        super().__init__()
        self.num_vectors = num_vectors
        self.vectors = nn.Parameter(torch.empty(num_vectors, dim))
        nn.init.normal_(self.vectors, std=0.02)

    def before(self, tokens: Tensor) -> Tensor:  # [B, T, D] -> [B, P + T, D]
        """Put the vectors before the tokens."""
        return torch.cat([self.vectors.to(tokens.dtype).expand(len(tokens), -1, -1), tokens], dim=1)

    def seen(self, mask: Tensor) -> Tensor:  # [B, T] -> [B, P + T]
        """Extend a mask, or ids of which 1 means real."""
        return torch.cat([mask.new_ones(len(mask), self.num_vectors), mask], dim=1)

    # Hooks, bound to the prompt so that a copy of an encoder has its own.

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Hook before blocks that read tokens, and a mask if any."""
        tokens, *masks = args
        return (self.before(tokens), *(None if mask is None else self.seen(mask) for mask in masks))

    def leave(self, module: nn.Module, args: tuple[Any, ...], tokens: Tensor) -> Tensor:
        """Hook after these."""
        return tokens[:, self.num_vectors :]

    def enter_text(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Hook before a language model of transformers: give it embeddings in place of ids."""
        embedded = self.before(module.get_input_embeddings()(kwargs["input_ids"]))
        return args, {"inputs_embeds": embedded, "attention_mask": self.seen(kwargs["attention_mask"])}

    def leave_text(self, module: nn.Module, args: tuple[Any, ...], given: Any) -> Any:
        """Hook after it."""
        given.last_hidden_state = given.last_hidden_state[:, self.num_vectors :]
        return given

    def append(self, module: nn.Module, args: tuple[Any, ...], tokens: Tensor) -> Tensor:
        """Hook after the embeddings of a vision model: at the end, since the first token is its summary."""
        return torch.cat([tokens, self.vectors.to(tokens.dtype).expand(len(tokens), -1, -1)], dim=1)

    def drop(self, module: nn.Module, args: tuple[Any, ...], given: Any) -> Any:
        """Hook after the model."""
        given.last_hidden_state = given.last_hidden_state[:, : -self.num_vectors]
        return given


def prompt(encoder: Encoder, num_vectors: int = 8, fallback: str = "learn", max_tokens: int | None = None) -> bool:
    """Put learned vectors beside the tokens (Lester et al., 2021; for images Jia et al., 2022).

    Transformers that read words, pictures, sounds or tables can have them: of transformers, the ViTs of timm, our own.
    """
    _at_least_one("num_vectors", num_vectors)
    net: Any = getattr(encoder, "net", None)
    if isinstance(blocks := getattr(encoder, "blocks", None), Blocks):
        made = _own(encoder, Prompt(num_vectors, encoder.dim))
        blocks.register_forward_pre_hook(made.enter)
        blocks.register_forward_hook(made.leave)
    elif any(kind.__name__ == "VisionTransformer" for kind in type(net).__mro__):
        made = _own(encoder, Prompt(num_vectors, net.embed_dim))
        net.blocks[0].register_forward_pre_hook(made.enter)
        net.blocks[-1].register_forward_hook(made.leave)
    elif encoder.kind == "text" and net is not None and "inputs_embeds" in signature(net.forward).parameters:
        made = _own(encoder, Prompt(num_vectors, net.get_input_embeddings().embedding_dim))
        net.register_forward_pre_hook(made.enter_text, with_kwargs=True)
        net.register_forward_hook(made.leave_text)
        ids = torch.zeros(1, max_tokens or 1, dtype=torch.int64)
        what = f"strategy.adapt.num_vectors: {num_vectors} vectors and {max_tokens} tokens are too many for this model"
        try_out(encoder, {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}, what)
    elif hasattr(net, "embeddings") and isinstance(getattr(net.config, "num_attention_heads", None), int):
        made = _own(encoder, Prompt(num_vectors, net.config.hidden_size))
        net.embeddings.register_forward_hook(made.append)
        net.register_forward_hook(made.drop)
    else:
        return _leave(encoder, fallback)
    return True


def _own(encoder: Encoder, made: Prompt) -> Prompt:
    _freeze(encoder)
    encoder.prompt = made
    return made


def _is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear layer; torch's attention reads the weights of its own directly."""
    return type(module).__name__ in ("Linear", "Conv1D")


def _freeze(encoder: Encoder) -> None:
    """Keep the encoder's own parameters as they are, and torch's transformer layers from reading them directly."""
    encoder.requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # so says torch that its fused path, in evaluation, will not do


def _leave(encoder: Encoder, fallback: str) -> bool:
    if fallback not in ("learn", "stay"):
        raise ConfigError(f"strategy.adapt.fallback: {fallback!r} is not one of learn, stay")
    if fallback == "stay":
        encoder.requires_grad_(False)
    return False


def _at_least_one(key: str, number: int) -> None:
    if number < 1:
        raise ConfigError(f"strategy.adapt.{key}: {number} is below 1")
