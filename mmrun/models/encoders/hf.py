"""Image and text encoders of Hugging Face transformers (Wolf et al., 2020), by name on the hub or by folder."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypedDict, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.image_processing_base import ImageProcessingMixin
from transformers.utils import logging

from mmrun.errors import ConfigError
from mmrun.hub import TRANSFORMERS_REMEDY, fetch, locate, skips_weights
from mmrun.models.encoders.pretrained import encode_example, encode_example_text
from mmrun.models.encoders.sequence import find_last_tokens, masked_mean, select_tokens, unmask_empty_rows
from mmrun.types import Encoder, Features, Input


def load_model(model: str, pretrained: bool, grad_checkpointing: bool, **config_changes: object) -> PreTrainedModel:
    """Load a model of transformers in fp32. Code that comes with a model is never run.

    Args:
        model: name on the hub, or a local folder.
        pretrained: False: random weights, of which only the config is loaded.
        grad_checkpointing: recompute activations in the backward pass instead of storing them (Chen et al., 2016).
        config_changes: values to set in the model's config first.

    Returns:
        The model without a task-specific pooler: BERT's is for next-sentence prediction, ViT's is often untrained.

    Raises:
        ConfigError: the model is neither cached nor reachable, or does not support `grad_checkpointing`.
    """

    files = locate(model)

    def load(local_only: bool) -> PreTrainedModel:
        (logging.disable_progress_bar if local_only else logging.enable_progress_bar)()  # for downloads only
        options = {"local_files_only": local_only, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(files, **options)
        _refuse_kernels(config, model)
        for name, value in config_changes.items():
            setattr(config, name, value)
        if not pretrained or skips_weights():
            return AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
        _refuse_adapters(model)
        try:
            return AutoModel.from_pretrained(model, config=config, dtype=torch.float32, use_safetensors=True, **options)
        except (SafetensorError, RuntimeError) as error:  # a damaged file, or weights of another model
            raise OSError(str(error)) from None

    net = fetch(load, files, TRANSFORMERS_REMEDY)
    if hasattr(getattr(net, "pooler", None), "dense"):
        net.pooler = None
    if grad_checkpointing:
        if not net.supports_gradient_checkpointing:
            raise ConfigError(f"grad_checkpointing: {model} does not support it; pass grad_checkpointing=false")
        has_new_name = hasattr(net, "activation_checkpointing_enable")  # since transformers 5
        enable = net.activation_checkpointing_enable if has_new_name else net.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return net


def _refuse_kernels(config: object, model: str) -> None:
    """Raise an error if a config names code on the hub, which transformers would download and run for attention."""
    values = vars(config)
    for name, value in values.items():
        if hasattr(value, "to_dict"):  # a part's config, such as that of CLIP's text model
            _refuse_kernels(value, model)
        elif "attn_implementation" in name and "/" in str(value):
            raise ConfigError(f"{model}: its config names {value}, code from the hub; remove {name} from config.json")


def _refuse_adapters(model: str) -> None:
    """Raise an error if a folder holds an adapter, whose weights may be a pickle."""
    if (Path(model) / "adapter_config.json").exists():
        raise ConfigError(f"{model}: holds an adapter (adapter_config.json); merge it into the model, and save that")


class Settings(TypedDict, total=False):
    """What is read of a preprocessor_config.json; empty for random weights.

    Attributes:
        image_mean: of each channel, for pixels of 0..1.
        image_std: of each channel.
        do_normalize: whether each clip is standardised.
        mean: of spectrograms.
        std: of spectrograms.
    """

    image_mean: list[float]
    image_std: list[float]
    do_normalize: bool
    mean: float
    std: float


ReadSettings = Callable[..., tuple[Settings, object]]  # the settings, and arguments that were not used


def load_settings(read: ReadSettings, model: str) -> Settings:
    """Load the normalisation that a model was trained with, from its preprocessor_config.json.

    Args:
        read: transformers' function that reads the file.
        model: name on the hub, or a local folder.

    Returns:
        The content of the file.

    Raises:
        ConfigError: the file is neither cached nor reachable.
    """
    files, remedy = locate(model), f"save the processor of {model} beside its weights"
    return fetch(lambda local_only: read(files, local_files_only=local_only)[0], files, remedy)


def load_normalization(model: str, pretrained: bool, num_channels: int) -> tuple[Tensor, Tensor]:
    """Load the mean and standard deviation by which a vision model's inputs are normalised.

    Args:
        model: name on the hub, or a local folder.
        pretrained: False: both are 0.5, for random weights.
        num_channels: C.

    Returns:
        Both [C, 1, 1], for pixels of 0..1.

    Raises:
        ConfigError: the model's preprocessor_config.json is neither cached nor reachable.
    """
    settings = load_settings(ImageProcessingMixin.get_image_processor_dict, model) if pretrained else Settings()
    halves = [0.5] * num_channels
    mean = settings["image_mean"] if settings else halves
    std = settings["image_std"] if settings else halves
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)


class HfImage(Encoder):
    """A vision model of transformers: ViT, DINOv2, SigLIP, CLIP and others.

    Pooled is what the model itself pools, else its class token. A grey image is read as one of three equal channels.

    Args:
        model: name on the hub, or a local folder.
        in_channels: C.
        image_size: H = W, in pixels.
        pretrained: False: random weights.
        grad_checkpointing: see `load_model`.

    Raises:
        ConfigError: the model cannot be loaded, or cannot read such images.
    """

    kind = "image"
    mean: Tensor
    std: Tensor

    def __init__(
        self, model: str, in_channels: int, image_size: int, pretrained: bool = True, grad_checkpointing: bool = False
    ) -> None:
        super().__init__()
        # The mask token replaces masked patches in pre-training; without them it would get no gradient.
        net = load_model(model, pretrained, grad_checkpointing, use_mask_token=False)
        self.net: PreTrainedModel = getattr(net, "vision_model", net)  # CLIP and similar models have a text model, too
        mean, std = load_normalization(model, pretrained, self.net.config.num_channels)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        resizes = "interpolate_pos_encoding" in inspect.signature(self.net.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if resizes else {}
        image = torch.zeros(1, in_channels, image_size, image_size)
        problem = f"{model} cannot read {in_channels} x {image_size} x {image_size} pixels"
        self.dim = encode_example(self, image, problem).pooled.shape[1]

    def forward(self, x: Tensor) -> Features:
        """Normalise as in the model's own training, and encode.

        Args:
            x: images [B, C, H, W], 0..1.

        Returns:
            Pooled [B, D], and all tokens [B, T, D], the class token included.
        """
        output = self.net(pixel_values=(x - self.mean) / self.std, **self.options)
        tokens, pooled = output.last_hidden_state, getattr(output, "pooler_output", None)
        if tokens.ndim == 4:  # a feature map [B, D, H', W']
            tokens = tokens.flatten(2).transpose(1, 2)
            pooled = tokens.mean(dim=1) if pooled is None else pooled
        return Features(tokens[:, 0] if pooled is None else pooled.flatten(1), tokens)

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return all tokens after each block, or the cells of the last feature map; see `Encoder.encode_layers`."""
        pixels = (cast(Tensor, x) - self.mean) / self.std
        output = self.net(pixel_values=pixels, output_hidden_states=True, **self.options)
        layers: list[Tensor] = list(output.hidden_states[1:])
        return super().encode_layers(x) if layers[-1].ndim == 4 else layers


class HfText(Encoder):
    """A language model of transformers: BERT, RoBERTa, MiniLM, GPT-2, T5's encoder and others.

    Args:
        model: name on the hub, or a local folder.
        vocab_size: V of the tokenizer.
        max_tokens: the longest text, in tokens.
        pretrained: False: random weights.
        pool: mean: of the real tokens; cls: the first token; last: the last real token, for causal models.
        grad_checkpointing: see `load_model`.

    Raises:
        ConfigError: `pool` is none of these, the model cannot be loaded, or it cannot read such ids or so many.
    """

    kind = "text"

    def __init__(
        self,
        model: str,
        vocab_size: int,
        max_tokens: int,
        pretrained: bool = True,
        pool: Literal["mean", "cls", "last"] = "mean",
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if pool not in ("mean", "cls", "last"):
            raise ConfigError(f"pool={pool!r}: choose mean, cls or last")
        self.pool = pool
        net = load_model(model, pretrained, grad_checkpointing, use_cache=False)
        if net.config.is_encoder_decoder:
            net = net.get_encoder()
        self.net: PreTrainedModel = getattr(net, "text_model", net)  # CLIP and similar models have a vision model, too
        self.dim = encode_example_text(self, model, max_tokens, vocab_size).pooled.shape[1]

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: ids [B, T] and mask [B, T].

        Returns:
            Pooled [B, D], and the tokens of the last layer [B, T, D].
        """
        mask = unmask_empty_rows(x["mask"])
        tokens = self.net(input_ids=x["ids"], attention_mask=mask.long()).last_hidden_state
        if self.pool == "mean":
            pooled = masked_mean(tokens, mask)
        elif self.pool == "cls":
            pooled = tokens[:, 0]
        else:
            pooled = select_tokens(tokens, find_last_tokens(mask))
        return Features(pooled, tokens, mask)

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return the tokens after each block; see `Encoder.encode_layers`."""
        x = cast(dict[str, Tensor], x)
        mask = unmask_empty_rows(x["mask"]).long()
        output = self.net(input_ids=x["ids"], attention_mask=mask, output_hidden_states=True)
        return list(output.hidden_states[1:])
