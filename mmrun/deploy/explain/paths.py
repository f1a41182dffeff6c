"""Straight paths from a baseline to one row of a modality, along which gradients are integrated.

A path lies where the encoder is differentiable: in pixels, embeddings of tokens, cells of the spectrogram, standardised
numbers and embeddings of categories, or standardised steps.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mmrun.deploy.explain.baselines import IMAGE_BASELINES, ImageBaselineName, average_colour
from mmrun.deploy.explain.taps import Tap
from mmrun.models.encoders.logmel import LogMel
from mmrun.models.encoders.tabular import Categories
from mmrun.types import Encoder, Features, Input

Points = dict[str, Tensor]  # P points of a path, by the name of the part, [P, ...]
Parts = dict[str, Tensor]  # the input of an encoder that has several parts


@dataclass(frozen=True)
class Path:
    """A straight path of one modality in one row.

    Attributes:
        start: the baseline [1, ...].
        end: the row [1, ...].
        encode: returns the features of points.
        reduce: sums attributions [1, ...] of the points' values up to what a reader sees: pixels, tokens, cells,
            columns, steps.
        picture: the spectrogram [bands, frames]; None for other kinds.
    """

    start: Points
    end: Points
    encode: Callable[[Points], Features]
    reduce: Callable[[Points], Tensor]
    picture: np.ndarray | None = None


def open_path(
    encoder: Encoder, kind: str, x: Input, replaceable: Tensor, pad_id: int, image_baseline: ImageBaselineName = "mean"
) -> Path | None:
    """Return the path of one modality, or None where its encoder is not differentiable at any known place.

    Args:
        encoder: of the modality.
        kind: of the modality.
        x: its input, of one row.
        replaceable: of a text, which tokens the baseline replaces [T] bool; special tokens and padding stay.
        pad_id: of a text, the token that replaces them.
        image_baseline: where the path of a picture starts.
    """
    if kind == "image":
        return _open_image(encoder, cast(Tensor, x), IMAGE_BASELINES[image_baseline].make(cast(Tensor, x)))
    if kind == "video":
        return _open_video(encoder, cast(Tensor, x))
    parts = cast(Parts, x)
    if kind == "text":
        return _open_text(encoder, parts, replaceable, pad_id)
    if kind == "audio":
        return _open_audio(encoder, parts)
    if kind == "tabular":
        return _open_table(encoder, parts)
    return _open_series(encoder, parts) if kind == "series" else None


def _open_image(encoder: Encoder, x: Tensor, baseline: Tensor) -> Path:
    return Path({"": baseline}, {"": x}, lambda points: encoder(points[""]), lambda sums: sums[""].sum(1)[0])


def _open_video(encoder: Encoder, x: Tensor) -> Path:
    def reduce(sums: Points) -> Tensor:
        return torch.cat(list(sums[""].sum(2)[0]), -1)  # [H, TW], the frames side by side

    return Path({"": average_colour(x)}, {"": x}, lambda points: encoder(points[""]), reduce)


def _open_series(encoder: Encoder, x: Parts) -> Path:
    """Open the path from the training means, which are 0."""

    def encode(points: Points) -> Features:
        features: Features = encoder({**_repeat(x, len(points["values"])), **points})
        return features

    values = x["values"]
    return Path({"values": torch.zeros_like(values)}, {"values": values}, encode, lambda sums: sums["values"][0])


def _open_text(encoder: Encoder, x: Parts, replaceable: Tensor, pad_id: int) -> Path | None:
    """Open the path from embeddings of padding."""
    tap = _find_token_embedding(encoder, x)
    if tap is None:
        return None
    ids = Tap(tap.module, "input").read(lambda: encoder(x))  # may be padded further than x
    num_tokens = x["ids"].shape[1]
    baseline = ids.clone()
    baseline[:, :num_tokens][:, replaceable] = pad_id
    with torch.no_grad():
        start, end = tap.module(baseline), tap.module(ids)

    def encode(points: Points) -> Features:
        with tap.replace(points["embeddings"]):
            features: Features = encoder(_repeat(x, len(points["embeddings"])))
        return features

    return Path(
        {"embeddings": start}, {"embeddings": end}, encode, lambda sums: sums["embeddings"].sum(2)[0, :num_tokens]
    )


def _find_token_embedding(encoder: Encoder, x: Parts) -> Tap | None:
    """Return the embedding that reads the ids of the tokens, found by a trial; None if there is none."""
    num_tokens = x["ids"].shape[1]
    readers: list[nn.Module] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...], _: Tensor) -> None:
        ids = args[0]
        if ids.ndim == 2 and ids.shape[1] >= num_tokens and torch.equal(ids[:, :num_tokens], x["ids"]):
            readers.append(module)

    handles = [module.register_forward_hook(keep) for module in encoder.modules() if isinstance(module, nn.Embedding)]
    try:
        with torch.no_grad():
            encoder(x)
    finally:
        for handle in handles:
            handle.remove()
    return Tap(readers[0]) if readers else None


def _open_audio(encoder: Encoder, x: Parts) -> Path | None:
    """Open the path from the spectrogram of silence."""
    tap = _find_spectrogram(encoder)
    if tap is None:
        return None
    silence = {**x, "waveform": torch.zeros_like(x["waveform"])}
    start, end = tap.read(lambda: encoder(silence)), tap.read(lambda: encoder(x))

    def encode(points: Points) -> Features:
        with tap.replace(points["cells"]):
            features: Features = encoder(_repeat(x, len(points["cells"])))
        return features

    return Path(
        {"cells": start},
        {"cells": end},
        encode,
        lambda sums: _orient_spectrogram(tap, sums["cells"]),
        _orient_spectrogram(tap, end).cpu().numpy(),
    )


def _find_spectrogram(encoder: Encoder) -> Tap | None:
    """Return where an encoder has a log-mel spectrogram; None if it reads waveforms."""
    for module in encoder.modules():
        if isinstance(module, LogMel):
            return Tap(module)
    if hasattr(encoder, "compute_spectrogram"):  # transformers' models
        net = cast(nn.Module, encoder.net)
        return Tap(cast(nn.Module, getattr(net, "tower", net)), "input")
    return None


def _orient_spectrogram(tap: Tap, cells: Tensor) -> Tensor:
    """Return the cells of one row as [bands, frames]. Models of transformers may have the longer axis, time, first."""
    cells = cells.reshape(cells.shape[-2:])
    is_time_first = not isinstance(tap.module, LogMel) and cells.shape[0] > cells.shape[1]
    return cells.T if is_time_first else cells


def _open_table(encoder: Encoder, x: Parts) -> Path | None:
    """Open the path from training means, none of them missing, and from the embeddings of unknown categories."""
    taps = [Tap(module) for module in encoder.modules() if isinstance(module, Categories)]
    num_categorical = x["categorical"].shape[1]
    if num_categorical and not taps:
        return None
    numeric, missing = x["numeric"], x["missing"].to(x["numeric"].dtype)
    end = {"numeric": numeric, "missing": missing}
    start = {name: torch.zeros_like(part) for name, part in end.items()}
    if num_categorical:
        categories = taps[0].module
        with torch.no_grad():
            end["categories"] = categories(x["categorical"])
            start["categories"] = categories(torch.zeros_like(x["categorical"]))

    def encode(points: Points) -> Features:
        numbers = {name: points[name] for name in ("numeric", "missing")}
        with taps[0].replace(points["categories"]) if num_categorical else nullcontext():
            features: Features = encoder({**_repeat(x, len(points["numeric"])), **numbers})
        return features

    def reduce(sums: Points) -> Tensor:
        columns = [(sums["numeric"] + sums["missing"])[0]]
        if "categories" in sums:
            columns.append(sums["categories"].sum(2)[0])
        return torch.cat(columns)

    return Path(start, end, encode, reduce)


def _repeat(x: Parts, count: int) -> Parts:
    """Return the parts of one row as those of several."""
    return {name: part.expand(count, *part.shape[1:]) for name, part in x.items()}
