"""The part of an input that can be moved a little: pixels, samples, values, cells with numbers. Words cannot."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from mmrun.types import Batch, Input

PARTS = {"image": "", "audio": "waveform", "tabular": "numeric", "series": "values"}  # "" the input itself
RANGES = {"image": (0.0, 1.0), "audio": (-1.0, 1.0)}  # of the others anything is possible


def movable(batch: Batch, kinds: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the continuous parts of each modality's input."""
    return {m: _part(kind, batch.inputs[m]) for m, kind in kinds.items() if kind in PARTS}


def moved(batch: Batch, kinds: Mapping[str, str], moves: Mapping[str, Tensor]) -> Batch:
    """Add a move to each modality that has one: within the range of its kind; padding and missing cells stay."""
    inputs = dict(batch.inputs)
    for modality, move in moves.items():
        kind, x = kinds[modality], inputs[modality]
        before = _part(kind, x)
        after = before + move.where(_real(kind, x, batch.present[modality]), 0)
        if kind in RANGES:
            least, most = RANGES[kind]
            after = after.clamp(least, most)
        inputs[modality] = {**x, PARTS[kind]: after} if isinstance(x, dict) else after
    return batch._replace(inputs=inputs)


def noisy(batch: Batch, kinds: Mapping[str, str], noise: Mapping[str, float]) -> Batch:
    """Add white noise of the deviation that each kind has."""
    parts = movable(batch, kinds)
    return moved(
        batch, kinds, {m: noise[kinds[m]] * torch.randn_like(x) for m, x in parts.items() if kinds[m] in noise}
    )


def _part(kind: str, x: Input) -> Tensor:
    return x[PARTS[kind]] if isinstance(x, dict) else x


def _real(kind: str, x: Input, present: Tensor) -> Tensor:
    """Return which values of a part are real, broadcastable to it."""
    rows = present.view(-1, *[1] * (_part(kind, x).dim() - 1))
    if kind == "image":
        return rows
    parts = cast(dict[str, Tensor], x)
    if kind == "audio":
        samples = torch.arange(parts["waveform"].shape[1], device=present.device)
        return rows & (samples < parts["length"].unsqueeze(1))
    return rows & (parts["mask"].unsqueeze(1) if kind == "series" else ~parts["missing"])
