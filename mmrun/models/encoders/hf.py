"""Image and text encoders of Hugging Face transformers, by name on the hub or by folder."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging

from mmrun.errors import ConfigError
from mmrun.hub import fetch
from mmrun.models.encoders.pretrained import try_out
from mmrun.models.encoders.sequence import at, last_position, masked_mean, readable
from mmrun.types import Encoder, Features

MEND = "pass model=<a local folder> (with pretrained=false its config.json is enough)"


def load(model: str, pretrained: bool, grad_checkpointing: bool, **changes: Any) -> Any:  # transformers.PreTrainedModel
    """Load or draw a model in fp32, its config changed first. Code that comes with a model is never run.

    With `grad_checkpointing` its backward pass computes activations again instead of keeping them.
    """

    def found(local_only: bool) -> Any:
        (logging.disable_progress_bar if local_only else logging.enable_progress_bar)()  # bars are for downloads
        options = {"local_files_only": local_only, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(model, **options)
        for name, value in changes.items():
            setattr(config, name, value)
        if not pretrained:
            return AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
        return AutoModel.from_pretrained(model, config=config, dtype=torch.float32, **options)

    net = fetch(found, model, MEND)
    if hasattr(getattr(net, "pooler", None), "dense"):
        net.pooler = None  # BERT's is for a task of its own, and ViT's often comes untrained
    if grad_checkpointing:
        if not net.supports_gradient_checkpointing:
            raise ConfigError(
                f"grad_checkpointing: {model} cannot compute activations again; pass grad_checkpointing=false"
            )
        renamed = hasattr(net, "activation_checkpointing_enable")  # in transformers 5
        enable = net.activation_checkpointing_enable if renamed else net.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return net


def preprocessor(read: Callable[..., tuple[dict[str, Any], Any]], model: str) -> dict[str, Any]:
    """Read how the data were normalised that a model was trained on, from its preprocessor_config.json."""
    mend = f"save the processor of {model} beside its weights"
    return fetch(lambda local_only: read(model, local_files_only=local_only)[0], model, mend)


class HfImage(Encoder):
    """A vision model; pooled is what the model itself pools, else its class token. All its tokens come out.

    A grey picture is read as one whose channels are equal.
    """

    kind = "image"
    mean: Tensor
    std: Tensor

    def __init__(
        self, model: str, in_channels: int, image_size: int, pretrained: bool = True, grad_checkpointing: bool = False
    ) -> None:
        super().__init__()
        net = load(
            model, pretrained, grad_checkpointing, use_mask_token=False
        )  # it stands in for hidden patches; none are
        self.net = getattr(net, "vision_model", net)  # CLIP and its kin read text too
        settings = preprocessor(ImageProcessingMixin.get_image_processor_dict, model) if pretrained else {}
        for name in ("mean", "std"):
            values = settings[f"image_{name}"] if settings else [0.5] * self.net.config.num_channels
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        resizes = "interpolate_pos_encoding" in inspect.signature(self.net.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if resizes else {}
        pixels = torch.zeros(1, in_channels, image_size, image_size)
        what = f"{model} cannot read {in_channels} x {image_size} x {image_size} pixels"
        self.dim = try_out(self, pixels, what).pooled.shape[1]

    def forward(self, x: Tensor) -> Features:  # [B, C, H, W]
        """Encode."""
        read = self.net(pixel_values=(x - self.mean) / self.std, **self.options)
        tokens, pooled = read.last_hidden_state, getattr(read, "pooler_output", None)
        if tokens.ndim == 4:  # a feature map [B, D, H', W']
            tokens = tokens.flatten(2).transpose(1, 2)
            pooled = tokens.mean(dim=1) if pooled is None else pooled
        return Features(tokens[:, 0] if pooled is None else pooled.flatten(1), tokens)  # [B, D], [B, T, D]


class HfText(Encoder):
    """A language model; the tokens are its last layer, pooled is their mean, the first, or the last of them."""

    kind = "text"

    def __init__(
        self,
        model: str,
        vocab_size: int,
        max_tokens: int,
        pretrained: bool = True,
        pool: str = "mean",
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if pool not in ("mean", "cls", "last"):
            raise ConfigError(f"pool={pool!r}: tokens are pooled by mean, cls or last")
        self.pool = pool
        net = load(model, pretrained, grad_checkpointing, use_cache=False)
        if net.config.is_encoder_decoder:
            net = net.get_encoder()
        self.net = getattr(net, "text_model", net)  # CLIP and its kin read images too
        ids = torch.full((1, max_tokens), vocab_size - 1)
        mend = f"pass preprocess.tokenizer={model}, or fewer max_tokens"
        what = f"{model} cannot read {max_tokens} tokens of {vocab_size}; {mend}"
        features = try_out(self, {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}, what)
        self.dim = features.pooled.shape[1]

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        mask = readable(x["mask"])
        tokens = self.net(input_ids=x["ids"], attention_mask=mask.long()).last_hidden_state  # [B, T, D]
        if self.pool == "mean":
            pooled = masked_mean(tokens, mask)
        else:
            pooled = tokens[:, 0] if self.pool == "cls" else at(tokens, last_position(mask))
        return Features(pooled, tokens, mask)
