"""Occlusion (Zeiler & Fergus, 2014): how much the score falls when one part of a modality is covered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from mmrun.deploy.explain.baselines import IMAGE_BASELINES, ImageBaselineName, average_colour
from mmrun.deploy.explain.gradients import Attribution
from mmrun.deploy.explain.paths import Parts
from mmrun.types import ITEMS, Input

GRID = 8  # patches along each side of a picture
WINDOWS = 24  # of a sound or series
MAX_WORDS = 128  # that are covered one by one; in longer texts, neighbours are covered together
CHUNK_SIZE = 16  # variants of the row that pass through the encoder at once


@dataclass(frozen=True)
class Cover:
    """How the parts of one modality are covered in one row.

    Attributes:
        masks: what each part covers [P, ...], bool: pixels, tokens, samples, columns or steps.
        hide: returns a variant of the row for some masks [p, ...].
        spread: arranges what was measured of the parts [P] as a reader sees them.
    """

    masks: Tensor
    hide: Callable[[Tensor], Input]
    spread: Callable[[np.ndarray], np.ndarray]


def occlude(cover: Cover, score: Callable[[Input], Tensor]) -> Attribution:
    """Return how much the score falls when each part is covered; the values need not add up to anything.

    Args:
        cover: of one modality in one row.
        score: the explained score of variants of the input [p].
    """
    nothing = cover.masks.new_zeros(1, *cover.masks.shape[1:])
    with torch.no_grad():
        whole = score(cover.hide(nothing)).item()
        baseline_score = score(cover.hide(~nothing)).item()
        chunks = cover.masks.split(CHUNK_SIZE) if len(cover.masks) else ()
        scores = [score(cover.hide(masks)).cpu() for masks in chunks]
    falls = whole - torch.cat(scores).double().numpy() if scores else np.zeros(0)
    return Attribution(cover.spread(falls), baseline_score, float("nan"))


def open_cover(
    kind: str, x: Input, word_of_token: Tensor, pad_id: int, image_baseline: ImageBaselineName = "mean"
) -> Cover:
    """Return how the parts of a modality are covered.

    Args:
        kind: of the modality; ITEMS where the row has several pictures or sounds.
        x: its input, of one row.
        word_of_token: of a text, the number of the word of each token [T]; -1 for special tokens and padding.
        pad_id: of a text, the token that replaces a covered one.
        image_baseline: what a covered patch shows.
    """
    if kind == "image":
        return _cover_patches(cast(Tensor, x), IMAGE_BASELINES[image_baseline].make(cast(Tensor, x)))
    if kind == "video":
        return _cover_frames(cast(Tensor, x))
    parts = cast(Parts, x)
    if kind == ITEMS:
        return _cover_items(parts)
    if kind == "text":
        return _cover_words(parts, word_of_token, pad_id)
    if kind == "tabular":
        return _cover_columns(parts)
    if kind == "points":
        return _cover_places(parts)
    return _cover_windows(parts, "waveform" if kind == "audio" else "values")


def _cover_patches(x: Tensor, baseline: Tensor) -> Cover:
    height, width = x.shape[2:]
    rows, columns = (torch.arange(size) * min(GRID, size) // size for size in (height, width))
    num_rows, num_columns = int(rows[-1]) + 1, int(columns[-1]) + 1
    patches = rows.unsqueeze(1) * num_columns + columns  # [H, W]
    masks = patches == torch.arange(num_rows * num_columns).view(-1, 1, 1)

    def hide(mask: Tensor) -> Tensor:
        return torch.where(mask.unsqueeze(1), baseline, x)

    return Cover(masks.to(x.device), hide, lambda falls: falls.reshape(num_rows, num_columns))


def _cover_frames(x: Tensor) -> Cover:
    plain = average_colour(x)

    def hide(mask: Tensor) -> Tensor:
        return torch.where(mask[:, :, None, None, None], plain, x)

    masks = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    return Cover(masks, hide, lambda falls: falls.reshape(1, -1))


def _cover_items(x: Parts) -> Cover:
    """Cover whole pictures or sounds of a row that has several."""
    mask = x[ITEMS]  # [1, M]
    masks = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)[mask[0]]

    def hide(covered: Tensor) -> Parts:
        variants = {name: part.expand(len(covered), *part.shape[1:]) for name, part in x.items()}
        return {**variants, ITEMS: mask & ~covered}

    return Cover(masks, hide, lambda falls: falls)


def _cover_words(x: Parts, word_of_token: Tensor, pad_id: int) -> Cover:
    num_words = int(word_of_token.max()) + 1
    group_size = max(1, -(-num_words // MAX_WORDS))
    group_of_token = word_of_token.div(group_size, rounding_mode="floor")  # -1 stays
    num_groups = -(-num_words // group_size)
    masks = group_of_token == torch.arange(num_groups, device=word_of_token.device).unsqueeze(1)

    def hide(mask: Tensor) -> Parts:
        mask = mask & (word_of_token >= 0)
        return {"ids": x["ids"].masked_fill(mask, pad_id), "mask": x["mask"] & ~mask}

    def spread(falls: np.ndarray) -> np.ndarray:
        groups = np.arange(num_words) // group_size
        sizes = np.bincount(groups) if num_words else np.ones(1)
        shared: np.ndarray = falls[groups] / sizes[groups]
        return shared

    return Cover(
        masks if num_groups else word_of_token.new_zeros(0, len(word_of_token), dtype=torch.bool), hide, spread
    )


def _cover_columns(x: Parts) -> Cover:
    num_numeric, num_columns = x["numeric"].shape[1], x["numeric"].shape[1] + x["categorical"].shape[1]

    def hide(mask: Tensor) -> Parts:
        numeric, categorical = mask[:, :num_numeric], mask[:, num_numeric:]
        return {
            "numeric": x["numeric"].masked_fill(numeric, 0),
            "missing": x["missing"] & ~numeric,
            "categorical": x["categorical"].masked_fill(categorical, 0),
        }

    masks = torch.eye(num_columns, dtype=torch.bool, device=x["numeric"].device)
    return Cover(masks, hide, lambda falls: falls)


def _cover_places(x: Parts) -> Cover:
    """Cover the points above each square of the ground."""
    places, mask = x["points"][:, :2], x["mask"]  # [1, 2, N], [1, N]
    low = places.masked_fill(~mask.unsqueeze(1), torch.inf).amin(2, keepdim=True)
    high = places.masked_fill(~mask.unsqueeze(1), -torch.inf).amax(2, keepdim=True)
    side = (high - low).amax().clamp(min=1e-12)  # that of `points.draw_map`
    column, row = ((places - low) / side * GRID).long().clamp(0, GRID - 1)[0]
    square = (GRID - 1 - row) * GRID + column  # [N]
    masks = (square == torch.arange(GRID**2, device=square.device).unsqueeze(1)) & mask

    def hide(covered: Tensor) -> Parts:
        visible = mask & ~covered
        return {"points": x["points"] * visible.unsqueeze(1), "mask": visible}

    return Cover(masks, hide, lambda falls: falls.reshape(GRID, GRID))


def _cover_windows(x: Parts, name: str) -> Cover:
    """Cover windows in time, of all channels at once."""
    signal = x[name]
    length = signal.shape[-1]
    num_windows = min(WINDOWS, length)
    windows = torch.arange(length, device=signal.device) * num_windows // length
    masks = windows == torch.arange(num_windows, device=signal.device).unsqueeze(1)  # [P, T]

    def hide(mask: Tensor) -> Parts:
        others = {part: value.expand(len(mask), *value.shape[1:]) for part, value in x.items()}
        covered = mask.view(len(mask), *[1] * (signal.ndim - 2), length)
        return {**others, name: signal.masked_fill(covered, 0)}

    return Cover(masks, hide, lambda falls: falls)
