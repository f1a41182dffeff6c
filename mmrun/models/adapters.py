"""Adapters: a few trainable parameters inside an encoder whose own parameters stay frozen, in every stage of a run.

Each adapter changes an encoder in place and returns whether it could. An encoder that it cannot adapt is trained as a
whole (`fallback`: learn) or frozen (`fallback`: stay).
"""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.pretrained import encode_example
from mmrun.models.encoders.sequence import Blocks
from mmrun.types import Encoder
from mmrun.values import PositiveFloat, ShareBelow1, Width

Fallback = Literal["learn", "stay"]  # what becomes of an encoder that the adapter does not fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.modeling_outputs import BaseModelOutput


def lora(
    encoder: Encoder,
    rank: Width = 8,
    alpha: PositiveFloat = 16.0,
    dropout: ShareBelow1 = 0.0,
    convolutions: bool = True,
    fallback: Fallback = "learn",
) -> bool:
    """Add a low-rank update to the weight of every linear layer and 2D convolution (LoRA: Hu et al., 2022), by peft.

    The update is zero at first. Left out are layers whose weight another module reads directly, as in the attention of
    torch's own transformer layers, grouped convolutions, and subclasses of nn.Conv2d.

    Args:
        encoder: changed in place; its own parameters are frozen.
        rank: of the update.
        alpha: the update is multiplied by alpha / rank.
        dropout: of the layer's input on its way to the update.
        convolutions: False adapts linear layers only.
        fallback: learn or stay, for an encoder without such layers.

    Returns:
        Whether the encoder was adapted.

    Raises:
        ConfigError: a value is out of range.
    """
    _check_at_least_one("rank", rank)
    targets = _find_modules(encoder, lambda _, module: _is_linear(module) or (convolutions and _is_plain_conv(module)))
    if not targets:
        return _fall_back(encoder, fallback)
    from peft import LoraConfig, inject_adapter_in_model  # here: it takes seconds

    _freeze(encoder)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="|".join(map(re.escape, targets)),
        # GPT-2's Conv1D stores its weight transposed.
        fan_in_fan_out=any(not isinstance(module, nn.Linear | nn.Conv2d) for module in targets.values()),
    )
    inject_adapter_in_model(config, encoder)
    return True


class Bottleneck(nn.Module):
    """A frozen layer followed by a small residual MLP, which is zero at first (Houlsby et al., 2019).

    Args:
        layer: whose output is adapted.
        width: D, of that output.
        dim: of the MLP's hidden layer.
    """

    def __init__(self, layer: nn.Module, width: int, dim: int) -> None:
        super().__init__()
        self.layer = layer
        self.adapter_down = nn.Linear(width, dim)
        self.adapter_up = nn.Linear(dim, width)
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_up.bias)

    @property
    def weight(self) -> Tensor:
        """The layer's own weight: T5 reads its dtype."""
        return cast(Tensor, self.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer and the MLP.

        Args:
            x: in the shape that the layer reads.

        Returns:
            [..., D].
        """
        output = self.layer(x)
        adapted: Tensor = output + self.adapter_up(torch.relu(self.adapter_down(output)))
        return adapted


def bottlenecks(encoder: Encoder, layers: Sequence[str], dim: Width = 16, fallback: Fallback = "learn") -> bool:
    """Insert a bottleneck after the last linear layer of each attention and each MLP (Houlsby et al., 2019).

    As in the paper, the layer norms of the encoder are trained too. In torch's own transformer layers, only the MLPs
    can be adapted.

    Args:
        encoder: changed in place; its own parameters are frozen, except those of layer norms.
        layers: globs over the names of these linear layers within an encoder, with a leading dot.
        dim: width of a bottleneck.
        fallback: learn or stay, for an encoder without such layers.

    Returns:
        Whether the encoder was adapted.

    Raises:
        ConfigError: a value is out of range.
    """
    _check_at_least_one("dim", dim)
    targets = _find_modules(encoder, lambda name, module: _is_linear(module) and _matches_any(f".{name}", layers))
    if not targets:
        return _fall_back(encoder, fallback)
    _freeze(encoder)
    for norm in _find_modules(encoder, lambda _, module: _is_layer_norm(module)).values():
        norm.requires_grad_(True)
    for name, module in targets.items():
        parent, _, attribute = name.rpartition(".")
        shape = cast(Tensor, module.weight).shape
        width = shape[0] if isinstance(module, nn.Linear) else shape[1]
        setattr(encoder.get_submodule(parent), attribute, Bottleneck(module, width, dim))
    return True


class Prompt(nn.Module):
    """Learned vectors that pass through a transformer beside its tokens, and are removed from its output.

    Its hooks are bound methods, so that a copy of an encoder uses its own prompt.

    Args:
        num_vectors: P.
        dim: D, the width of the transformer's tokens.
    """

    def __init__(self, num_vectors: int, dim: int) -> None:
        super().__init__()
        self.num_vectors = num_vectors
        self.vectors = nn.Parameter(torch.empty(num_vectors, dim))
        nn.init.normal_(self.vectors, std=0.02)

    def prepend(self, tokens: Tensor) -> Tensor:
        """Put the vectors before the tokens.

        Args:
            tokens: [B, T, D].

        Returns:
            [B, P + T, D].
        """
        return torch.cat([self._expand(tokens), tokens], dim=1)

    def extend_mask(self, mask: Tensor) -> Tensor:
        """Extend a mask by the vectors, which are real.

        Args:
            mask: [B, T], bool, or numbers of which 1 means real.

        Returns:
            [B, P + T].
        """
        return torch.cat([mask.new_ones(len(mask), self.num_vectors), mask], dim=1)

    def _expand(self, tokens: Tensor) -> Tensor:  # [B, P, D]
        return self.vectors.to(tokens.dtype).expand(len(tokens), -1, -1)

    def blocks_pre_hook(self, module: nn.Module, args: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        """Prepend the vectors before blocks are called.

        Args:
            module: the blocks, or the first of them.
            args: tokens [B, T, D], and their masks [B, T] or None, if any.

        Returns:
            The same with P more tokens.
        """
        tokens, *masks = args
        extended = [None if mask is None else self.extend_mask(mask) for mask in masks]
        return (self.prepend(cast(Tensor, tokens)), *extended)

    def blocks_hook(self, module: nn.Module, args: tuple[Tensor | None, ...], tokens: Tensor) -> Tensor:
        """Remove the vectors after the blocks.

        Args:
            module: the blocks, or the last of them.
            args: unused.
            tokens: [B, P + T, D].

        Returns:
            [B, T, D].
        """
        return tokens[:, self.num_vectors :]

    def text_pre_hook(
        self, module: "PreTrainedModel", args: tuple[object, ...], kwargs: dict[str, Tensor]
    ) -> tuple[tuple[object, ...], dict[str, Tensor]]:
        """Replace ids by embeddings, and prepend the vectors, before a language model of transformers is called.

        Args:
            module: the model.
            args: passed on.
            kwargs: input_ids [B, T] and attention_mask [B, T].

        Returns:
            `args`, and inputs_embeds [B, P + T, D] and attention_mask [B, P + T].
        """
        embedded = self.prepend(module.get_input_embeddings()(kwargs["input_ids"]))
        return args, {"inputs_embeds": embedded, "attention_mask": self.extend_mask(kwargs["attention_mask"])}

    def text_hook(self, module: nn.Module, args: tuple[object, ...], output: "BaseModelOutput") -> "BaseModelOutput":
        """Remove the vectors from the output of a language model of transformers.

        Args:
            module: the model.
            args: unused.
            output: last_hidden_state [B, P + T, D]; changed in place.

        Returns:
            The output, with last_hidden_state [B, T, D].
        """
        output.last_hidden_state = output.last_hidden_state[:, self.num_vectors :]
        return output

    def embeddings_hook(self, module: nn.Module, args: tuple[object, ...], tokens: Tensor) -> Tensor:
        """Append the vectors to the embeddings of a vision model: at the end, as the first one is its class token.

        Args:
            module: the embeddings.
            args: unused.
            tokens: [B, T, D].

        Returns:
            [B, T + P, D].
        """
        return torch.cat([tokens, self._expand(tokens)], dim=1)

    def vision_hook(self, module: nn.Module, args: tuple[object, ...], output: "BaseModelOutput") -> "BaseModelOutput":
        """Remove the vectors from the end of the output of a vision model of transformers; otherwise as `text_hook`."""
        output.last_hidden_state = output.last_hidden_state[:, : -self.num_vectors]
        return output


def prompt(
    encoder: Encoder, num_vectors: Width = 8, fallback: Fallback = "learn", max_tokens: int | None = None
) -> bool:
    """Add learned vectors to the tokens of a transformer (Lester et al., 2021; for images Jia et al., 2022).

    Supported are mmrun's own transformers, the ViTs of timm, and language, vision and spectrogram models of
    transformers, among them the image towers of multimodal models, but not the text towers.

    Args:
        encoder: changed in place; its own parameters are frozen.
        num_vectors: P.
        fallback: learn or stay, for an encoder that is none of these.
        max_tokens: the longest text; checked together with the vectors. None counts as 1.

    Returns:
        Whether the encoder was adapted.

    Raises:
        ConfigError: a value is out of range, or the model cannot read so many tokens.
    """
    _check_at_least_one("num_vectors", num_vectors)
    blocks = getattr(encoder, "blocks", None)
    net: Any = getattr(encoder, "net", None)  # of timm or transformers
    tower: Any = getattr(net, "tower", net)  # of a pretrained multimodal model, before its projection
    if isinstance(blocks, Blocks):
        module = _attach_prompt(encoder, num_vectors, encoder.dim)
        blocks.register_forward_pre_hook(module.blocks_pre_hook)
        blocks.register_forward_hook(module.blocks_hook)
    elif _is_timm_vit(net):
        module = _attach_prompt(encoder, num_vectors, net.embed_dim)
        net.blocks[0].register_forward_pre_hook(module.blocks_pre_hook)
        net.blocks[-1].register_forward_hook(module.blocks_hook)
    elif encoder.kind == "text" and net is not None and "inputs_embeds" in signature(net.forward).parameters:
        module = _attach_prompt(encoder, num_vectors, net.get_input_embeddings().embedding_dim)
        net.register_forward_pre_hook(module.text_pre_hook, with_kwargs=True)
        net.register_forward_hook(module.text_hook)
        _check_text_fits(encoder, num_vectors, max_tokens)
    elif encoder.kind != "text" and _has_patches(tower):
        module = _attach_prompt(encoder, num_vectors, tower.config.hidden_size)
        tower.embeddings.register_forward_hook(module.embeddings_hook)
        tower.register_forward_hook(module.vision_hook)
    else:
        return _fall_back(encoder, fallback)
    return True


def _attach_prompt(encoder: Encoder, num_vectors: int, dim: int) -> Prompt:
    """Create a prompt inside the encoder, and freeze the encoder's own parameters."""
    module = Prompt(num_vectors, dim)
    _freeze(encoder)
    encoder.prompt = module
    return module


def _check_text_fits(encoder: Encoder, num_vectors: int, max_tokens: int | None) -> None:
    """Check that a language model can read the vectors and the longest text together."""
    ids = torch.zeros(1, max_tokens or 1, dtype=torch.int64)
    problem = f"strategy.adapt.num_vectors: {num_vectors} vectors and {max_tokens} tokens are too many for this model"
    encode_example(encoder, {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}, problem)


def _find_modules(encoder: Encoder, is_target: Callable[[str, nn.Module], bool]) -> dict[str, nn.Module]:
    """Return the modules that a condition on their name and themselves selects, by name."""
    return {name: module for name, module in encoder.named_modules() if is_target(name, module)}


def _matches_any(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _is_linear(module: nn.Module) -> bool:
    """Return whether a module is a plain linear layer or GPT-2's Conv1D.

    Not the subclass of nn.Linear inside torch's attention, which reads that layer's weight directly.
    """
    return type(module).__name__ in ("Linear", "Conv1D")


def _is_plain_conv(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.groups == 1


def _is_layer_norm(module: nn.Module) -> bool:
    """Return whether a module is a layer norm or RMS norm; those of transformers are known by name."""
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__.endswith(("LayerNorm", "RMSNorm"))


def _is_timm_vit(net: object) -> bool:
    """Return whether a network is a VisionTransformer or a subclass; by name, so that timm need not be imported."""
    return any(parent.__name__ == "VisionTransformer" for parent in type(net).__mro__)


def _has_patches(net: Any) -> bool:
    """Return whether a network of transformers is a transformer of one width over embedded patches."""
    return hasattr(net, "embeddings") and isinstance(getattr(net.config, "num_attention_heads", None), int)


def _freeze(encoder: Encoder) -> None:
    """Freeze the encoder's parameters, and keep torch's transformer layers from reading weights past their layers."""
    encoder.requires_grad_(False)
    for module in encoder.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # tells torch that its fused path, used in evaluation, does not apply


def _fall_back(encoder: Encoder, fallback: Fallback) -> bool:
    """Leave an encoder as it is or freeze it; return False, for it is not adapted."""
    if fallback not in ("learn", "stay"):
        raise ConfigError(f"strategy.adapt.fallback: {fallback!r} is not one of learn, stay")
    if fallback == "stay":
        encoder.requires_grad_(False)
    return False


def _check_at_least_one(key: str, number: int) -> None:
    if number < 1:
        raise ConfigError(f"strategy.adapt.{key}: {number} is below 1")
