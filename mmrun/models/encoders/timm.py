"""Image encoders of timm (Wightman, 2019), by name."""

import difflib
from pathlib import Path
from typing import Any, cast

import timm
import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from timm.models import PretrainedCfg, VisionTransformer, load_state_dict
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.hub import TIMM_REMEDY, fetch, skips_weights, summarize_error
from mmrun.models.encoders.pretrained import encode_example
from mmrun.types import Encoder, Features, Input


class Timm(Encoder):
    """A model of timm (Wightman, 2019) without its classifier.

    Tokens are the cells of its last feature map, or all tokens of a transformer.

    Args:
        model: its name in timm, for example resnet18 or vit_tiny_patch16_224.
        in_channels: C.
        image_size: in pixels, H = W or (H, W).
        pretrained: True: timm's own weights, from the hub's cache or the hub; False: random ones; or the path of a
            .safetensors file.
        grad_checkpointing: recompute activations in the backward pass instead of storing them (Chen et al., 2016).
            Batch norms then update their statistics twice per batch.

    Raises:
        ConfigError: timm has no such model, it cannot read such images, or the weights do not fit.
    """

    kind = "image"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str,
        in_channels: int,
        image_size: int | tuple[int, int],
        pretrained: bool | str = True,
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        config = _find_config(model)
        shape: dict[str, object] = {"in_chans": in_channels}
        if config.fixed_input_size:
            shape["img_size"] = (height, width)
        self.net: Any  # timm's models share no base class that declares their methods
        if pretrained is False or skips_weights():
            self.net = timm.create_model(model, num_classes=0, **shape)
        else:
            self.net = _create_pretrained(model, config, shape, pretrained)
        self.net.to(memory_format=torch.channels_last)  # on a CPU, depthwise convolutions then take 0.6 of the time
        self.dim = self.net.head_hidden_size
        for name, values in (("mean", config.mean), ("std", config.std)):
            value = torch.tensor(values) if in_channels == len(values) else torch.tensor(values).mean()
            self.register_buffer(name, value.view(-1, 1, 1), persistent=False)
        image = torch.zeros(1, in_channels, height, width)
        encode_example(self, image, f"{model} cannot read {height} x {width} pixels")
        if grad_checkpointing:
            _enable_grad_checkpointing(self.net, model)

    def forward(self, x: Tensor) -> Features:
        """Normalise as in the model's own training, and encode.

        Args:
            x: images [B, C, H, W], 0..1.

        Returns:
            Pooled [B, D] and tokens [B, T, D].
        """
        return self.encode_normalized((x - self.mean) / self.std)

    def encode_normalized(self, x: Tensor) -> Features:
        """Encode images that are normalised already.

        Args:
            x: [B, C, H, W], of about mean 0 and deviation 1.

        Returns:
            Pooled [B, D] and tokens [B, T, D]; no tokens where a layer after pooling changes the width, as in
            MobileNetV3 and VGG.
        """
        tokens = self.net.forward_features(x)
        pooled = self.net.forward_head(tokens, pre_logits=True)  # [B, D]
        if self.net.num_features != self.dim:
            return Features(pooled)
        if tokens.ndim == 4:  # a feature map; channels-last in Swin and similar models
            channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
            tokens = tokens.flatten(1, 2) if channels_last else tokens.flatten(2).transpose(1, 2)
        return Features(pooled, tokens)

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return all tokens of a vision transformer after each block; see `Encoder.encode_layers`.

        Other models change the number of tokens and their width from block to block, and show the last ones alone.
        """
        if not isinstance(self.net, VisionTransformer):
            return super().encode_layers(x)
        normalized = (cast(Tensor, x) - self.mean) / self.std
        layers: list[tuple[Tensor, Tensor] | Tensor] = self.net.forward_intermediates(
            normalized, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
        )
        return [layer if isinstance(layer, Tensor) else torch.cat([layer[1], layer[0]], 1) for layer in layers]


def _enable_grad_checkpointing(net: Any, model: str) -> None:
    try:
        net.set_grad_checkpointing(True)
    except AssertionError:
        raise ConfigError(
            f"grad_checkpointing: timm's {model} does not support it; pass grad_checkpointing=false"
        ) from None


def _find_config(model: str) -> PretrainedCfg:
    try:
        config = timm.get_pretrained_cfg(model, allow_unregistered=False)
    except RuntimeError:
        name, _, tag = model.partition(".")
        candidates = timm.list_pretrained(f"{name}.*") if tag and timm.is_model(name) else timm.list_models()
        close = difflib.get_close_matches(model, candidates, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ConfigError(f"timm has no model '{model}'{hint}") from None
    return config


def _create_pretrained(
    model: str, config: PretrainedCfg, shape: dict[str, object], pretrained: bool | str
) -> nn.Module:
    """Create a model whose weights must all match: if created without its classifier, timm would accept any."""
    path = _check_file(pretrained) if isinstance(pretrained, str) else _download_weights(model, config)
    if path.suffix != ".safetensors":
        raise ConfigError(
            f"pretrained: {path.name} may be a pickle, which can run code; save its tensors with "
            "safetensors.torch.save_file, and name that file"
        )
    try:
        weights = load_state_dict(str(path))
    except SafetensorError as error:
        raise ConfigError(f"pretrained: {path.name} is not a safetensors file ({summarize_error(error)})") from None
    classifier = f"{config.classifier}.weight"
    num_classes = len(weights[classifier]) if classifier in weights else 0
    if pretrained is True:
        num_classes = config.num_classes  # timm renames some models' weights while it loads them
    overlay = {"state_dict": weights, "custom_load": False, "num_classes": num_classes}
    try:
        net: Any = timm.create_model(model, True, pretrained_cfg_overlay=overlay, num_classes=num_classes, **shape)
    except RuntimeError:
        raise ConfigError(f"pretrained: the weights in {path.name} are not those of timm's {model}") from None
    net.reset_classifier(0)
    module: nn.Module = net
    return module


def _check_file(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"pretrained={path}: there is no such file; pass the path of a file, true or false")
    return file


def _download_weights(model: str, config: PretrainedCfg) -> Path:
    if config.hf_hub_id is None:
        raise ConfigError(f"timm has no weights for {model}; pass pretrained=false, or pretrained=<a file of weights>")
    filename = config.hf_hub_filename or "model.safetensors"
    return fetch(
        lambda local_only: Path(hf_hub_download(config.hf_hub_id, filename, local_files_only=local_only)),
        model,
        TIMM_REMEDY,
    )
