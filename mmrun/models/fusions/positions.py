"""Positions of tokens: without them attention reads a set, and cannot tell the order of words or where a patch lies."""

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.tokens import Tokens

PositionKind = Literal["learned", "none"]

NUM_FREQUENCIES = 128  # enough for a table of 24 x 24 patches in which rows and columns can be told apart
FREQUENCY_RANGE = 1000.0
NUM_HALF_TURNS = 256.0  # half turns of the highest rotary frequency, where the lowest one makes one

Windows = Mapping[str, tuple[float, float]]  # by modality, when its first token starts and its last one ends, in s


class Positions(nn.ModuleDict):
    """Add to each token a vector that depends on its position: a learned linear map, per modality, of sinusoids.

    Sinusoids (Vaswani et al., 2017) reach sequences of any length, cropped or not, where a learned table would have to
    know it. They are fixed; from pi per token, the highest frequency that tokens can show, so that a map of them can
    also tell the columns of a flattened grid apart. The vector of the first token is zero, so that a modality without
    tokens, whose pooled vector is its only one, is left as it is.

    Args:
        modalities: their names.
        dim: D, the width of the tokens.
    """

    frequencies: Tensor

    def __init__(self, modalities: Iterable[str], dim: int) -> None:
        super().__init__({name: nn.Linear(2 * NUM_FREQUENCIES, dim, bias=False) for name in modalities})
        exponents = torch.arange(NUM_FREQUENCIES) / NUM_FREQUENCIES
        self.register_buffer("frequencies", math.pi * FREQUENCY_RANGE**-exponents, persistent=False)

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        """Add the positions.

        Args:
            tokens: by modality, [B, T, D], with masks [B, T].

        Returns:
            The same with positions 0 to T - 1; padding has them too.
        """
        with_positions = {}
        for name, (x, mask) in tokens.items():
            steps = torch.arange(x.shape[1], device=x.device, dtype=self.frequencies.dtype)
            phases = steps[:, None] * self.frequencies  # [T, frequencies]
            with_positions[name] = x + self[name](torch.cat([phases.sin(), phases.cos() - 1], dim=1)), mask
        return with_positions


def build_positions(kind: PositionKind, modalities: Iterable[str], dim: int) -> nn.Module:
    """Build what adds positions to the tokens of all modalities.

    Args:
        kind: learned, or none: tokens are a set.
        modalities: their names.
        dim: D, the width of the tokens.

    Returns:
        A module from tokens and masks by modality to the same.

    Raises:
        ConfigError: `kind` is neither.
    """
    if kind not in ("learned", "none"):
        raise ConfigError(f"fusion.positions: '{kind}' is neither learned nor none")
    return Positions(modalities, dim) if kind == "learned" else nn.Identity()


class Rotary(nn.Module):
    """Rotary positions (RoPE: Su et al., 2021) by the times of tokens in place of their indices.

    Queries and keys are rotated by angles in proportion to their times, so that their product depends on how far apart
    in time two tokens are. Which difference matters is learned: tokens of one modality can read those of another that
    has a rate of its own, and lags by a constant time (continuous times: Zivanovic et al., 2025).

    Args:
        modalities: their names.
        head_dim: width of an attention head, even.
        windows: of the modalities that are recorded over time; tokens of others have the time 0. None: all sequences
            begin and end together.

    Raises:
        ConfigError: `head_dim` is odd.
    """

    frequencies: Tensor

    def __init__(self, modalities: Iterable[str], head_dim: int, windows: Windows | None = None) -> None:
        super().__init__()
        if head_dim % 2:
            raise ConfigError(f"fusion.positions: rotary needs an even fusion.dim / fusion.num_heads, not {head_dim}")
        self.windows = {name: (0.0, 1.0) if windows is None else windows.get(name, (0.0, 0.0)) for name in modalities}
        starts, stops = zip(*self.windows.values(), strict=True)
        lowest = math.pi / (max(stops) - min(starts))
        exponents = torch.linspace(0, 1, head_dim // 2)
        self.register_buffer("frequencies", lowest * NUM_HALF_TURNS**exponents, persistent=False)

    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tensor]:
        """Return the angles of all tokens.

        Args:
            tokens: by modality, [B, T, D], with masks [B, T]; real tokens share the window evenly.

        Returns:
            By modality, [B, T, head_dim / 2].
        """
        angles = {}
        for name, (_, mask) in tokens.items():
            start, stop = self.windows[name]
            share = (mask.cumsum(1) - 0.5) / mask.sum(1, keepdim=True).clamp(min=1)
            angles[name] = (start + share * (stop - start))[..., None] * self.frequencies
        return angles
