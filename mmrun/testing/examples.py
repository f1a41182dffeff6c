"""Small inputs of all kinds, and a model that trains on them in milliseconds. Contract checks and tests use them."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from mmrun.models.multimodal import Multimodal
from mmrun.tasks.classification import Classification
from mmrun.tasks.regression import Regression
from mmrun.types import Batch, Encoder, Features, Fusion, Input, Task

KINDS = {"photo": "image", "title": "text", "sound": "audio", "cells": "tabular", "sensor": "series", "clip": "video"}
DIM = 12
DIMS = dict.fromkeys(KINDS, DIM)
METADATA = {
    "photo": {"in_channels": 1, "image_size": 8},
    "title": {"vocab_size": 20, "max_tokens": 10, "pad_id": 0, "mask_id": 4},
    "sound": {"sample_rate": 8000, "num_samples": 2000},
    "cells": {"num_numeric": 3, "cardinalities": [4, 5]},
    "sensor": {"in_channels": 2, "num_steps": 12},
    "clip": {"in_channels": 1, "image_size": 4, "num_frames": 5},
}
TASKS: dict[str, Task] = {
    "label": Classification("label", ["a", "b", "c"], np.array([4, 2, 2])),
    "age": Regression("age", ["age"], np.zeros(1), np.ones(1)),
}
SIZES = {"image": 64, "audio": 2000, "tabular": 3 + 3 + 4 + 5, "series": 24 + 12, "video": 5 * 16}


class LinearEncoder(Encoder):
    """One linear layer on all values of a row.

    Args:
        kind: of the modality.
        tokens: whether to return tokens as well: what each quadrant, tenth of a clip, cell, step or frame adds to the
            layer.
    """

    dim = DIM
    membership: Tensor

    def __init__(self, kind: str, tokens: bool = False) -> None:
        super().__init__()
        self.kind, self.tokens = kind, tokens
        self.linear = nn.Linear(SIZES[kind], DIM)
        membership = nn.functional.one_hot(_find_token_of_each_value(kind)).T  # [T, S]
        self.register_buffer("membership", membership, persistent=False)

    def forward(self, x: Input) -> Features:
        """Return pooled features.

        Args:
            x: the input of the modality.

        Returns:
            pooled [B, D], and perhaps tokens [B, T, D].
        """
        if isinstance(x, Tensor):
            parts = [x]
        elif self.kind == "audio":
            parts = [x["waveform"]]
        elif self.kind == "series":
            parts = [x["values"], x["mask"]]
        else:
            one_hot = [nn.functional.one_hot(x["categorical"][:, i], n) for i, n in enumerate((4, 5))]
            parts = [x["numeric"], x["missing"], *one_hot]
        values = torch.cat([part.flatten(1).float() for part in parts], 1)  # [B, S]
        if not self.tokens:
            return Features(self.linear(values))
        tokens = (values.unsqueeze(1) * self.membership) @ self.linear.weight.T + self.linear.bias
        return Features(self.linear(values), tokens, self._find_real_tokens(x))

    def _find_real_tokens(self, x: Input) -> Tensor | None:
        if isinstance(x, Tensor) or self.kind == "tabular":
            return None
        return torch.arange(0, 2000, 200) < x["length"].unsqueeze(1) if self.kind == "audio" else x["mask"]


def _find_token_of_each_value(kind: str) -> Tensor:
    """Return the number of the token that each value of a row belongs to, [S]."""
    if kind == "image":
        half = torch.arange(8) // 4
        return (2 * half.unsqueeze(1) + half).flatten()
    if kind == "audio":
        return torch.arange(2000) // 200
    if kind == "series":
        return torch.arange(12).repeat(3)
    if kind == "video":
        return torch.arange(5).repeat_interleave(16)
    return torch.tensor([0, 1, 2, 0, 1, 2, *[3] * 4, *[4] * 5])


class WordEncoder(Encoder):
    """Token embeddings. Each token depends on the mean of those up to it; the pooled vector is the mean of all.

    Args:
        tokens: whether to return them.
    """

    kind, dim = "text", DIM

    def __init__(self, tokens: bool = True) -> None:
        super().__init__()
        self.tokens = tokens
        self.embed = nn.Embedding(20, DIM)
        self.mix = nn.Linear(DIM, DIM)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Return causal tokens, and the mean of the embeddings.

        Args:
            x: ids [B, T] and mask [B, T].

        Returns:
            pooled [B, D], and tokens [B, T, D] with their mask.
        """
        embedded = self.embed(x["ids"])
        real = x["mask"].unsqueeze(-1)
        pooled = (embedded * real).sum(1) / real.sum(1).clamp(min=1)
        if not self.tokens:
            return Features(pooled)
        running = embedded.cumsum(1) / torch.arange(1, embedded.shape[1] + 1, device=embedded.device).unsqueeze(1)
        return Features(pooled, self.mix(embedded + running), x["mask"])


class ConcatFusion(Fusion):
    """One linear layer on the concatenated pooled vectors.

    Args:
        modalities: to fuse.
    """

    dim = 6

    def __init__(self, modalities: list[str]) -> None:
        super().__init__()
        self.linear = nn.Linear(len(modalities) * DIM, self.dim)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Return the fused vector.

        Args:
            features: by modality, pooled [B, D].
            present: by modality, [B] bool.

        Returns:
            [B, 6].
        """
        parts = [feature.pooled.where(present[name].unsqueeze(1), 0) for name, feature in features.items()]
        fused: Tensor = self.linear(torch.cat(parts, 1))
        return fused


def build_model(*modalities: str, tokens: bool = True, all_tokens: bool = False) -> Multimodal:
    """Build a small model with fixed initial weights.

    Args:
        modalities: names from KINDS; by default all.
        tokens: whether the text encoder returns tokens.
        all_tokens: whether the other encoders do.
    """
    torch.manual_seed(0)
    encoders: dict[str, Encoder] = {}
    for name in modalities or tuple(KINDS):
        kind = KINDS[name]
        encoders[name] = WordEncoder(tokens) if kind == "text" else LinearEncoder(kind, all_tokens)
    return Multimodal(encoders, ConcatFusion(list(encoders)), TASKS)


def build_batch(*modalities: str, rows: int = 8) -> Batch:
    """Build a batch of random rows; all modalities are present in all rows.

    Args:
        modalities: names from KINDS; by default all.
        rows: an even number.
    """
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([10, 3] * (rows // 2))
    inputs: dict[str, Input] = {
        "photo": torch.rand(rows, 1, 8, 8, generator=generator),
        "title": {
            "ids": torch.randint(5, 20, (rows, 10), generator=generator),
            "mask": torch.arange(10) < lengths.unsqueeze(1),
        },
        "sound": {
            "waveform": torch.rand(rows, 2000, generator=generator)
            - 0.5
            + torch.linspace(-0.2, 0.2, rows).unsqueeze(1),
            "length": torch.tensor([2000, 900] * (rows // 2)),
        },
        "cells": {
            "numeric": torch.randn(rows, 3, generator=generator),
            "missing": torch.zeros(rows, 3, dtype=torch.bool),
            "categorical": torch.randint(1, 4, (rows, 2), generator=generator),
        },
        "sensor": {
            "values": torch.randn(rows, 2, 12, generator=generator),
            "mask": torch.arange(12).expand(rows, 12) < 9,
        },
        "clip": torch.rand(rows, 5, 1, 4, 4, generator=generator),
    }
    names = modalities or tuple(KINDS)
    present = {name: torch.ones(rows, dtype=torch.bool) for name in names}
    targets = {"label": torch.arange(rows) % 3, "age": torch.arange(rows) / rows}
    return Batch({name: inputs[name] for name in names}, present, targets, torch.arange(rows))


# --------------------------------------------------------------------------------------- inputs of single encoders

ENCODER_METADATA: dict[str, dict[str, object]] = {  # by kind: metadata of its preprocessor
    "image": {"in_channels": 3, "image_size": 64},
    "text": {
        "vocab_size": 60,
        "max_tokens": 12,
        "pad_id": 0,
        "mask_id": 4,
        "special_ids": [0, 1, 2, 3, 4],
        "word_vectors": None,
    },
    "audio": {"sample_rate": 16000, "num_samples": 16000},
    "tabular": {"num_numeric": 3, "cardinalities": [4, 6]},
    "series": {"in_channels": 2, "num_steps": 24},
    "points": {"in_channels": 4, "num_points": 24},
    "video": {"in_channels": 3, "image_size": 32, "num_frames": 4},
}


def encoder_input(kind: str, seed: int = 1) -> Input:
    """Return a random input of three rows; in kinds with padding, of full length, of half of it, and without content.

    Args:
        kind: of the modality, one of `mmrun.types.KINDS`.
        seed: of the values.
    """
    generator = torch.Generator().manual_seed(seed)
    share = torch.tensor([1.0, 0.5, 0.0])  # of the full length
    if kind == "image":
        return torch.rand(3, 3, 64, 64, generator=generator)
    if kind == "video":
        return torch.rand(3, 4, 3, 32, 32, generator=generator)
    if kind == "text":
        mask = torch.arange(12) < share[:, None] * 12
        return {"ids": torch.randint(5, 60, (3, 12), generator=generator) * mask, "mask": mask}
    if kind == "audio":
        length = (share * 16000).long()
        noise = torch.randn(3, 16000, generator=generator).clamp(-3, 3) / 4
        return {"waveform": noise * (torch.arange(16000) < length[:, None]), "length": length}
    if kind == "tabular":
        missing = torch.rand(3, 3, generator=generator) < 0.4
        numeric = torch.randn(3, 3, generator=generator) * ~missing
        categorical = torch.randint(0, 24, (3, 2), generator=generator) % torch.tensor([4, 6])
        return {"numeric": numeric, "missing": missing, "categorical": categorical}
    mask = torch.arange(24) < share[:, None] * 24
    if kind == "points":
        return {"points": torch.rand(3, 4, 24, generator=generator).mul(2).sub(1) * mask[:, None], "mask": mask}
    return {"values": torch.randn(3, 2, 24, generator=generator) * mask[:, None], "mask": mask}


def encoder_inputs(kind: str) -> Iterator[Input]:
    """Yield 40 batches to fit an encoder on.

    Args:
        kind: of the modality.
    """
    return (encoder_input(kind, seed) for seed in range(40))


# -------------------------------------------------------------------------------------- features of several encoders

WIDTHS = {"image": 12, "text": 7, "audio": 5, "tabular": 9, "series": 4, "video": 6}
LENGTHS = {"image": 5, "text": 7, "audio": 3, "tabular": 2, "series": 11, "video": 4}
NUM_ROWS = 6


def first_widths(count: int) -> dict[str, int]:
    """Return the feature width of the first modalities.

    Args:
        count: number of modalities.
    """
    return dict(list(WIDTHS.items())[:count])


def fusion_input(count: int, tokens: bool) -> tuple[dict[str, Features], dict[str, Tensor]]:
    """Return random features and the presence of each modality, for six rows.

    Args:
        count: number of modalities; all are present.
        tokens: whether the features have tokens. Row b of the second modality has b real ones, so row 0 has none.
    """
    generator = torch.Generator().manual_seed(1)
    features = {}
    for position, (name, dim) in enumerate(first_widths(count).items()):
        pooled = torch.randn(NUM_ROWS, dim, generator=generator)
        features[name] = Features(pooled)
        if tokens:
            values = torch.randn(NUM_ROWS, LENGTHS[name], dim, generator=generator)
            mask = torch.arange(LENGTHS[name]) < torch.arange(NUM_ROWS)[:, None] if position == 1 else None
            features[name] = Features(pooled, values, mask)
    return features, {name: torch.ones(NUM_ROWS, dtype=torch.bool) for name in features}


def refill(features: Mapping[str, Features], present: Mapping[str, Tensor], filler: float) -> dict[str, Features]:
    """Fill missing rows and padding with a number.

    Args:
        features: by modality.
        present: by modality, [B] bool.
        filler: the number.

    Returns:
        new features.
    """
    filled = {}
    for name, (pooled, tokens, mask) in features.items():
        missing = ~present[name]
        pooled = pooled.masked_fill(missing[:, None], filler)
        if tokens is not None:
            padding = missing[:, None] if mask is None else missing[:, None] | ~mask
            tokens = tokens.masked_fill(padding[..., None], filler)
        filled[name] = Features(pooled, tokens, mask)
    return filled
