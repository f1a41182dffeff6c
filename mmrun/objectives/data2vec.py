"""Predict what an average of the encoder makes of the whole input, from a masked one."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.objectives.pretext import ScheduledPretext
from mmrun.objectives.teacher import EMACopy
from mmrun.objectives.token_masks import TokenMask, check_tokens
from mmrun.types import Encoder, Features, Input
from mmrun.values import Depth, PositiveFloat, Share


class Data2Vec(ScheduledPretext):
    """data2vec (Baevski et al., 2022): regress a teacher's hidden layers at the tokens that the student does not see.

    The target of a token is the mean of the teacher's top layers, each normalised; the teacher is a moving average of
    the encoder, reads the whole input and is in eval mode. Encoders that show their last tokens alone (see
    `Encoder.encode_layers`) have a single layer. Differences from the paper: parts are hidden in the input rather than
    in its embedding, so that any encoder with tokens can learn it; words always become the mask token, and patches are
    hidden one by one rather than in blocks. Features can get better while the loss rises: set the stage's `keep=last`.

    Args:
        dim: width of the encoder's tokens.
        mask: builds the mask of the kind.
        top_k: number of layers that are averaged; fewer if the encoder has fewer.
        normalize: layer: each token of a layer by its own mean and variance, as for texts and images; instance: each
            feature over the tokens of a row, as for sound.
        decay: of the teacher per step, at first.
        final_decay: of the teacher per step, after `warmup`.
        warmup: share of the stage in which the decay grows linearly.
        beta: error up to which the smooth L1 loss is squared.
    """

    alone = True

    moving_target = True

    def __init__(
        self,
        dim: int,
        mask: Callable[[], TokenMask],
        top_k: Depth = 8,
        normalize: Literal["layer", "instance"] = "layer",
        decay: Share = 0.99,
        final_decay: Share = 0.999,
        warmup: Share = 0.3,
        beta: PositiveFloat = 2.0,
    ) -> None:
        super().__init__()
        self.mask = mask()
        self.top_k, self.normalize, self.beta = top_k, normalize, beta
        self.decay, self.final_decay, self.warmup = decay, final_decay, warmup
        self.predict = nn.Linear(dim, dim)

    def check(self, encoder: nn.Module, key_path: str) -> None:
        """Reject an encoder without tokens for the parts of its input.

        Raises:
            ConfigError: it has none.
        """
        check_tokens(self.mask, encoder, key_path, "data2vec")

    def attach(self, encoder: nn.Module) -> None:
        """Start the teacher as a copy of the encoder."""
        self.teacher = EMACopy(encoder)

    def update(self, encoder: nn.Module) -> None:
        """Move the teacher towards the encoder."""
        self.teacher.update(encoder, 1 - self.warm_up(self.decay, self.final_decay, self.warmup))

    def corrupt(self, x: Input, present: Tensor) -> tuple[Input, dict[str, Tensor | list[Tensor]]]:
        """Return the masked input, and the target: hidden parts [B, N], and the teacher's top layers [B, T, D].

        Args:
            x: of B rows.
            present: is not used.
        """
        masked, hidden = self.mask.hide(x)
        encoder = self.teacher.module
        assert isinstance(encoder, Encoder)
        with torch.no_grad():
            layers = encoder.encode_layers(x)[-self.top_k :]
        return masked, {"hidden": hidden, "layers": layers}

    def loss(self, features: Features, target: dict[str, Tensor | list[Tensor]]) -> Tensor:
        """Return the mean smooth L1 loss over a row's hidden tokens, [B].

        Args:
            features: tokens [B, T, D].
            target: that `corrupt` returned.
        """
        assert features.tokens is not None
        hidden, layers = target["hidden"], target["layers"]
        assert isinstance(hidden, Tensor)
        hidden_tokens = self.mask.align(hidden, features)  # [B, T]
        assert hidden_tokens is not None  # by check
        normalize = normalize_tokens if self.normalize == "layer" else normalize_features
        expected = torch.stack([normalize(layer.float(), features.mask) for layer in layers]).mean(0)
        predicted: Tensor = self.predict(features.tokens).float()
        error = F.smooth_l1_loss(predicted, expected, reduction="none", beta=self.beta).mean(-1)  # [B, T]
        return (error * hidden_tokens).sum(1) / hidden_tokens.sum(1).clamp(min=1)


def normalize_tokens(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Standardise each token by itself.

    Args:
        tokens: [B, T, D].
        mask: is not used.
    """
    return F.layer_norm(tokens, tokens.shape[-1:])


def normalize_features(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Standardise each feature of a row over its real tokens.

    Args:
        tokens: [B, T, D].
        mask: [B, T] bool, True where a token is real; None: all are.
    """
    real = torch.ones_like(tokens[..., :1]) if mask is None else mask.unsqueeze(-1).to(tokens.dtype)
    count = real.sum(1, keepdim=True).clamp(min=1)
    mean = (tokens * real).sum(1, keepdim=True) / count
    variance = ((tokens - mean).square() * real).sum(1, keepdim=True) / count
    return (tokens - mean) / (variance + 1e-5).sqrt()
