"""The multimodal encoder of FLAVA as a fusion, with its pretrained weights."""

from typing import cast

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import load_model
from mmrun.models.fusions.presence import project_tokens
from mmrun.models.fusions.tokens import concat_tokens, prepend_tokens
from mmrun.types import Features, Fusion


class Flava(Fusion):
    """The multimodal encoder of FLAVA (Singh et al., 2022): a transformer over all tokens, and a class token.

    FLAVA's own towers project their tokens to its width (`projection=multimodal`), which are then read as they are. A
    modality with an encoder of another width joins through a linear layer of its own: its tokens follow the others.

    Args:
        dims: D_m, the width of each modality's features.
        model: name on the hub, or a local folder.
        pretrained: False: random weights.
        grad_checkpointing: see `hf.load_model`.

    Raises:
        ConfigError: the model cannot be loaded, or has no multimodal encoder with a class token.
    """

    def __init__(
        self,
        dims: dict[str, int],
        model: str = "facebook/flava-full",
        pretrained: bool = True,
        grad_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        whole = load_model(model, pretrained, grad_checkpointing)
        net = getattr(whole, "multimodal_model", None)
        if net is None:
            family = whole.config.model_type
            raise ConfigError(
                f"fusion.model: {model}, of type {family}, has no multimodal encoder that reads tokens of other "
                "encoders; set it to a FLAVA, or choose another fusion"
            )
        if not net.use_cls_token:
            raise ConfigError(f"fusion.model: the multimodal encoder of {model} has no class token; choose another")
        self.dim: int = net.config.hidden_size
        net.pooler = None  # it would get no gradient: the fused vector is the class token
        self.net = cast(nn.Module, net)
        self.project = nn.ModuleDict()
        for name, width in dims.items():
            self.project[name] = nn.Identity() if width == self.dim else nn.Linear(width, self.dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Fuse.

        Args:
            features: by modality, tokens [B, T, D_m], or pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Fused vectors [B, D].
        """
        tokens, mask = concat_tokens(project_tokens(self.project, features, present))
        tokens, mask = prepend_tokens(cast(Tensor, self.net.cls_token), tokens, mask)
        bias = torch.zeros_like(mask, dtype=tokens.dtype).masked_fill(~mask, torch.finfo(tokens.dtype).min)
        states = cast(nn.Module, self.net.encoder)(tokens, attention_mask=bias[:, None, None, :]).last_hidden_state
        fused: Tensor = cast(nn.Module, self.net.layernorm)(states[:, 0])
        return fused
