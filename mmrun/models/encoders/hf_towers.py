"""The towers of pretrained multimodal models of transformers, with the projections that align them with each other."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import load_model, load_normalization
from mmrun.models.encoders.pretrained import encode_example, encode_example_text
from mmrun.models.encoders.sequence import unmask_empty_rows
from mmrun.towers import FAMILIES
from mmrun.types import Encoder, Features

# aligned: to the space that the towers share; multimodal: to that of the model's multimodal encoder (FLAVA)
Projection = Literal["aligned", "multimodal"]


class Projected(nn.Module):
    """A tower and its projection, which maps the pooled vector and each token to another space.

    Args:
        model: name on the hub, or a local folder.
        kind: of the tower.
        pretrained: False: random weights.
        grad_checkpointing: see `hf.load_model`.
        projection: which of the model's projections.

    Attributes:
        family: `model_type` of the whole model.
        scale: of the cosines in the model's own training, at most 100.
        tower: without its projection.
        projection: of the family.

    Raises:
        ConfigError: the model cannot be loaded, or has no such tower or projection.
    """

    def __init__(
        self, model: str, kind: str, pretrained: bool, grad_checkpointing: bool, projection: Projection = "aligned"
    ) -> None:
        super().__init__()
        whole = load_model(model, pretrained, grad_checkpointing)
        self.family: str = whole.config.model_type
        tower = FAMILIES.get(self.family, {}).get(kind)
        if tower is None:
            families = ", ".join(family for family, towers in FAMILIES.items() if kind in towers)
            raise ConfigError(
                f"{model}: a model of type {self.family} has no tower for {kind}; choose one of {families}"
            )
        logit_scale: Tensor = getattr(whole, "logit_scale_t" if self.family == "clap" else "logit_scale")
        self.scale = min(100.0, logit_scale.detach().exp().item())
        self.tower: PreTrainedModel = getattr(whole, tower.module)
        attribute = tower.projection if projection == "aligned" else tower.multimodal_projection
        if projection == "multimodal" and attribute is None:
            raise ConfigError(f"projection=multimodal: {model}, of type {self.family}, has no multimodal encoder")
        self.projection: nn.Module = nn.Identity() if attribute is None else getattr(whole, attribute)
        if projection == "multimodal":
            self.tower.layernorm = nn.Identity()  # the multimodal encoder reads what comes before it
        if self.family == "flava":  # its poolers and its mask token would get no gradient
            self.tower.pooler = None
            self.tower.embeddings.mask_token = None

    def forward(self, **inputs: Tensor | bool) -> tuple[Tensor, Tensor]:
        """Encode and project.

        Args:
            inputs: of the tower, by transformers' names.

        Returns:
            Pooled [B, D] and tokens [B, T, D].
        """
        output = self.tower(**inputs)
        tokens = output.last_hidden_state
        if tokens.ndim == 4:  # a feature map [B, E, H', W']
            tokens = tokens.flatten(2).transpose(1, 2)
        pooled = tokens[:, 0] if output.pooler_output is None else output.pooler_output
        return self.projection(pooled), self.projection(tokens)


class ImageTower(Encoder):
    """The image tower of CLIP (Radford et al., 2021), SigLIP (Zhai et al., 2023), FLAVA and others.

    `towers.FAMILIES` lists them. A grey image is read as one of three equal channels.

    Args:
        model: name on the hub, or a local folder.
        in_channels: C.
        image_size: H = W, in pixels; position embeddings are interpolated where it is not the model's.
        pretrained: False: random weights.
        grad_checkpointing: see `hf.load_model`.
        projection: aligned, or multimodal: for FLAVA's multimodal encoder as the fusion.

    Raises:
        ConfigError: the model cannot be loaded, has no image tower, or cannot read such images.
    """

    kind = "image"
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: str,
        in_channels: int,
        image_size: int,
        pretrained: bool = True,
        grad_checkpointing: bool = False,
        projection: Projection = "aligned",
    ) -> None:
        super().__init__()
        self.net = Projected(model, self.kind, pretrained, grad_checkpointing, projection)
        mean, std = load_normalization(model, pretrained, self.net.tower.config.num_channels)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        is_resized = image_size != self.net.tower.config.image_size
        self.options = {"interpolate_pos_encoding": True} if is_resized else {}
        problem = f"{model} cannot read {in_channels} x {image_size} x {image_size} pixels"
        image = mean.new_zeros(1, in_channels, image_size, image_size)
        self.dim = encode_example(self, image, problem).pooled.shape[1]

    def forward(self, x: Tensor) -> Features:
        """Normalise as in the model's own training, encode and project.

        Args:
            x: images [B, C, H, W], 0..1.

        Returns:
            Pooled [B, D], and all tokens [B, T, D], the class token included.
        """
        return Features(*self.net(pixel_values=(x - self.mean) / self.std, **self.options))


class TextTower(Encoder):
    """The text tower of CLIP (Radford et al., 2021), SigLIP (Zhai et al., 2023), CLAP (Wu et al., 2023) and others.

    `towers.FAMILIES` lists them. SigLIP reads every text at its full length, padding included, as in its training.

    Args:
        model: name on the hub, or a local folder.
        vocab_size: V of the tokenizer.
        max_tokens: the longest text, in tokens.
        pad_id: the token that texts are padded with.
        pretrained: False: random weights.
        grad_checkpointing: see `hf.load_model`.
        projection: aligned, or multimodal: for FLAVA's multimodal encoder as the fusion.

    Raises:
        ConfigError: the model cannot be loaded, has no text tower, or cannot read such ids or so many.
    """

    kind = "text"

    def __init__(
        self,
        model: str,
        vocab_size: int,
        max_tokens: int,
        pad_id: int,
        pretrained: bool = True,
        grad_checkpointing: bool = False,
        projection: Projection = "aligned",
    ) -> None:
        super().__init__()
        self.net = Projected(model, self.kind, pretrained, grad_checkpointing, projection)
        self.pad_id = pad_id
        self.reads_padding = self.net.family == "siglip"
        self.longest: int = self.net.tower.config.max_position_embeddings
        self.dim = encode_example_text(self, model, max_tokens, vocab_size).pooled.shape[1]

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode and project.

        Args:
            x: ids [B, T] and mask [B, T].

        Returns:
            Pooled [B, D] and tokens [B, T, D].
        """
        ids, mask = x["ids"], unmask_empty_rows(x["mask"])
        if self.reads_padding:
            padded = F.pad(ids.where(mask, self.pad_id), (0, max(0, self.longest - ids.shape[1])), value=self.pad_id)
            pooled, tokens = self.net(input_ids=padded)
            return Features(pooled, tokens[:, : ids.shape[1]], mask)
        pooled, tokens = self.net(input_ids=ids, attention_mask=mask.long())
        return Features(pooled, tokens, mask)
