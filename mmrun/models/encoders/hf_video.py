"""Video encoders of Hugging Face transformers (Wolf et al., 2020), by name on the hub or by folder."""

from typing import cast

import torch
from torch import Tensor

from mmrun.models.encoders.hf import load_model, load_normalization
from mmrun.models.encoders.pretrained import encode_example
from mmrun.types import Encoder, Features, Input


class HfVideo(Encoder):
    """A video model of transformers: VideoMAE (Tong et al., 2022), TimeSformer (Bertasius et al., 2021), ViViT.

    Pooled is the class token, or the mean of all tokens where the model has none, as VideoMAE.

    Args:
        model: name on the hub, or a local folder.
        in_channels: C.
        image_size: H = W, in pixels.
        num_frames: T, as many as the model was trained with.
        pretrained: False: random weights.
        grad_checkpointing: see `hf.load_model`.

    Raises:
        ConfigError: the model cannot be loaded, or cannot read such videos.
    """

    kind = "video"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str,
        in_channels: int,
        image_size: int,
        num_frames: int,
        pretrained: bool = True,
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.net = load_model(model, pretrained, grad_checkpointing)
        mean, std = load_normalization(model, pretrained, self.net.config.num_channels)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.has_class_token = hasattr(getattr(self.net, "embeddings", None), "cls_token")
        video = torch.zeros(1, num_frames, in_channels, image_size, image_size)
        config = self.net.config
        problem = (
            f"{model} cannot read {num_frames} frames of {in_channels} x {image_size} x {image_size} pixels; it was "
            f"trained with {getattr(config, 'num_frames', '?')} of {getattr(config, 'image_size', '?')}: set "
            "preprocess.num_frames and preprocess.size"
        )
        self.dim = encode_example(self, video, problem).pooled.shape[1]

    def forward(self, x: Tensor) -> Features:
        """Normalise as in the model's own training, and encode.

        Args:
            x: videos [B, T, C, H, W], 0..1.

        Returns:
            Pooled [B, D], and all tokens, the class token included.
        """
        tokens = self.net(pixel_values=(x - self.mean) / self.std).last_hidden_state
        return Features(tokens[:, 0] if self.has_class_token else tokens.mean(1), tokens)

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return all tokens after each block; see `Encoder.encode_layers`."""
        pixels = (cast(Tensor, x) - self.mean) / self.std
        output = self.net(pixel_values=pixels, output_hidden_states=True)
        return list(output.hidden_states[1:])
