"""Image encoders of timm (Wightman 2019), by name."""

import difflib
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from timm.models import load_state_dict
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.hub import fetch
from mmrun.models.encoders.pretrained import try_out
from mmrun.types import Encoder, Features


class Timm(Encoder):
    """A model of timm without its classifier; the tokens are its last feature map, or all tokens of a transformer.

    `pretrained` is true (timm's own weights, kept in the hub's cache), false, or a file of weights. With
    `grad_checkpointing`
    the backward pass computes activations again instead of keeping them; batch norms then see each batch twice.
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
        config = _config(model)
        shape: dict[str, Any] = {"in_chans": in_channels}
        if config.fixed_input_size:
            shape["img_size"] = (height, width)
        if pretrained is False:
            self.net = timm.create_model(model, num_classes=0, **shape)
        else:
            self.net = _pretrained(model, config, shape, pretrained)
        self.dim = self.net.head_hidden_size
        for name, values in (("mean", config.mean), ("std", config.std)):
            value = torch.tensor(values) if in_channels == len(values) else torch.tensor(values).mean()
            self.register_buffer(name, value.view(-1, 1, 1), persistent=False)
        try_out(self, torch.zeros(1, in_channels, height, width), f"{model} cannot read {height} x {width} pixels")
        if grad_checkpointing:
            _recompute(self.net, model)

    def forward(self, x: Tensor) -> Features:  # [B, C, H, W], 0..1
        """Encode."""
        return self.read((x - self.mean) / self.std)

    def read(self, x: Tensor) -> Features:  # [B, C, H, W]
        """Encode what is normalised already."""
        grid = self.net.forward_features(x)
        pooled = self.net.forward_head(grid, pre_logits=True)  # [B, D]
        if self.net.num_features != self.dim:  # a layer after pooling makes another width: MobileNetV3, VGG
            return Features(pooled)
        if grid.ndim == 4:  # Swin and its kin have channels last
            last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
            grid = grid.flatten(1, 2) if last else grid.flatten(2).transpose(1, 2)
        return Features(pooled, grid)  # tokens [B, T, D]


def _recompute(net: Any, model: str) -> None:
    try:
        net.set_grad_checkpointing(True)
    except AssertionError:
        mend = "pass grad_checkpointing=false"
        raise ConfigError(f"grad_checkpointing: timm's {model} cannot compute activations again; {mend}") from None


def _config(model: str) -> Any:  # timm's PretrainedCfg
    try:
        config = timm.get_pretrained_cfg(model, allow_unregistered=False)
    except RuntimeError:
        name, _, tag = model.partition(".")
        known = timm.list_pretrained(f"{name}.*") if tag and timm.is_model(name) else timm.list_models()
        close = difflib.get_close_matches(model, known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ConfigError(f"timm has no model '{model}'{hint}") from None
    return config


def _pretrained(model: str, config: Any, shape: dict[str, Any], pretrained: bool | str) -> nn.Module:
    """Build with weights that must all fit: without the classifier they came with, timm would take any."""
    path = _file(pretrained) if isinstance(pretrained, str) else _downloaded(model, config)
    try:
        weights = load_state_dict(str(path), weights_only=True)
    except Exception:  # what a damaged or unsafe file raises depends on its format
        raise ConfigError(f"pretrained: {path.name} is neither safetensors nor a .pth of tensors alone") from None
    classifier = f"{config.classifier}.weight"
    num_classes = len(weights[classifier]) if classifier in weights else 0
    if pretrained is True:
        num_classes = config.num_classes  # some are renamed while they are loaded
    overlay = {"state_dict": weights, "custom_load": False, "num_classes": num_classes}
    try:
        net = timm.create_model(model, True, pretrained_cfg_overlay=overlay, num_classes=num_classes, **shape)
    except RuntimeError:
        raise ConfigError(f"pretrained: the weights in {path.name} are not those of timm's {model}") from None
    net.reset_classifier(0)
    return net


def _file(path: str) -> Path:
    found = Path(path).expanduser()
    if not found.is_file():
        raise ConfigError(f"pretrained={path}: there is no such file; give one, or true, or false")
    return found


def _downloaded(model: str, config: Any) -> Path:
    if config.hf_hub_id is None:
        raise ConfigError(f"timm has no weights for {model}; pass pretrained=false, or pretrained=<a file of weights>")
    filename = config.hf_hub_filename or "model.safetensors"
    return fetch(
        lambda local_only: Path(hf_hub_download(config.hf_hub_id, filename, local_files_only=local_only)),
        model,
        "pass pretrained=false, or pretrained=<a file of weights>",
    )
