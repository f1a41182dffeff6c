"""Corruptions of the inputs, by kind of modality, with a severity from 0 (unchanged) to 1 (nothing left).

A corruption returns new tensors and takes all randomness from `generator`. What it draws does not depend on the
severity, so that the points of a noise curve differ by their severity alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from mmrun.types import Input

Corruption = Callable[[Any, float, Generator], Input]  # takes the input of its own kind, see mmrun.types
Parts = dict[str, Tensor]


# -------------------------------------------------------------------------------------------------------------- image


def add_gaussian_noise(image: Tensor, severity: float, generator: Generator) -> Tensor:
    """Add Gaussian noise (Hendrycks & Dietterich, 2019).

    Args:
        image: [B, C, H, W], or videos [B, T, C, H, W], 0..1.
        severity: standard deviation of the noise, as a share of the brightness range.
        generator: of random numbers.

    Returns:
        The same shape, clipped to 0..1.
    """
    return (image + severity * _normal(image, generator)).clamp(0, 1)


def occlude(image: Tensor, severity: float, generator: Generator) -> Tensor:
    """Hide a square at a random place in grey (DeVries & Taylor, 2017).

    Args:
        image: [B, C, H, W], 0..1.
        severity: area of the square, as a share of the image.
        generator: of random numbers.

    Returns:
        [B, C, H, W].
    """
    side = severity**0.5  # as a share of each side
    corner = _uniform(torch.Size([len(image), 2]), generator) * (1 - side)
    inside = []
    for size, start in zip(image.shape[-2:], corner.unbind(1), strict=True):
        position = (torch.arange(size, device=image.device) + 0.5) / size - start[:, None]
        inside.append((position >= 0) & (position < side))  # [B, H], then [B, W]
    return image.masked_fill(inside[0][:, None, :, None] & inside[1][:, None, None, :], 0.5)


# -------------------------------------------------------------------------------------------------------------- video


def drop_frames(video: Tensor, severity: float, generator: Generator) -> Tensor:
    """Replace random frames by grey, as where frames were lost.

    Args:
        video: [B, T, C, H, W], 0..1.
        severity: probability that a frame is lost.
        generator: of random numbers.

    Returns:
        [B, T, C, H, W].
    """
    is_lost = _uniform(video.shape[:2], generator) < severity
    return video.masked_fill(is_lost[:, :, None, None, None], 0.5)


# ---------------------------------------------------------------------------------------------------- audio and series


def add_white_noise(audio: Parts, severity: float, generator: Generator) -> Parts:
    """Mix a recording with white noise of the same power, 1 - severity to severity.

    The signal-to-noise ratio is 20 log10((1 - severity) / severity) dB: 19, 12, 3.5 and -12 dB at 0.1, 0.2, 0.4, 0.8.

    Args:
        audio: waveform [B, S], -1..1, and length [B].
        severity: share of the noise.
        generator: of random numbers.

    Returns:
        the same parts; padding stays zero.
    """
    waveform = audio["waveform"]
    is_real = torch.arange(waveform.shape[1], device=waveform.device) < audio["length"][:, None]
    return {**audio, "waveform": _mix_with_noise(waveform, is_real, severity, generator).clamp(-1, 1)}


def add_sensor_noise(series: Parts, severity: float, generator: Generator) -> Parts:
    """Mix a series with white noise of the same power, as `add_white_noise` does.

    Args:
        series: values [B, C, T] and mask [B, T].
        severity: share of the noise.
        generator: of random numbers.

    Returns:
        the same parts; padding stays zero.
    """
    is_real = series["mask"][:, None].expand_as(series["values"])
    return {**series, "values": _mix_with_noise(series["values"], is_real, severity, generator)}


# --------------------------------------------------------------------------------------------------------------- text


def drop_tokens(text: Parts, severity: float, generator: Generator) -> Parts:
    """Remove random tokens and close the gaps. The first one, a special token in most tokenizers, is kept.

    Args:
        text: ids [B, T] and mask [B, T].
        severity: probability that a token is removed.
        generator: of random numbers.

    Returns:
        the same parts; the remaining tokens stand first, in order.
    """
    is_dropped = (_uniform(text["ids"].shape, generator) < severity) & _is_after_first(text["mask"])
    is_kept = text["mask"] & ~is_dropped
    order = (~is_kept).int().argsort(dim=1, stable=True)
    return {"ids": text["ids"].take_along_dim(order, 1), "mask": is_kept.take_along_dim(order, 1)}


def replace_tokens(text: Parts, severity: float, generator: Generator) -> Parts:
    """Replace random tokens, except the first, by tokens from any text of the batch.

    Args:
        text: ids [B, T] and mask [B, T].
        severity: probability that a token is replaced.
        generator: of random numbers.

    Returns:
        the same parts.
    """
    is_replaceable = _is_after_first(text["mask"])
    pool = text["ids"][is_replaceable]
    if len(pool) == 0:  # no row of the batch has a text
        return text
    replacements = pool[(_uniform(text["ids"].shape, generator) * len(pool)).long()]
    is_replaced = (_uniform(text["ids"].shape, generator) < severity) & is_replaceable
    return {**text, "ids": torch.where(is_replaced, replacements, text["ids"])}


# ------------------------------------------------------------------------------------------------------------ tabular


def permute_cells(table: Parts, severity: float, generator: Generator) -> Parts:
    """Replace random cells by those of other rows of the batch.

    Args:
        table: numeric [B, F], missing [B, F] and categorical [B, K].
        severity: probability that a cell is replaced.
        generator: of random numbers.

    Returns:
        the same parts.
    """
    corrupted: Parts = {}
    for group in (("numeric", "missing"), ("categorical",)):  # a number and its missing flag stay together
        shape = table[group[0]].shape
        order = _uniform(shape, generator).argsort(dim=0)
        is_replaced = _uniform(shape, generator) < severity
        for part in group:
            corrupted[part] = torch.where(is_replaced, table[part].take_along_dim(order, 0), table[part])
    return corrupted


def add_cell_noise(table: Parts, severity: float, generator: Generator) -> Parts:
    """Mix each number with standard normal noise, and make random categories unknown.

    Args:
        table: numeric [B, F], missing [B, F] and categorical [B, K].
        severity: share of the noise in a number, and probability that a category becomes unknown.
        generator: of random numbers.

    Returns:
        the same parts; missing numbers stay as they are.
    """
    numbers = (1 - severity) * table["numeric"] + severity * _normal(table["numeric"], generator)
    is_unknown = _uniform(table["categorical"].shape, generator) < severity
    return {
        "numeric": torch.where(table["missing"], table["numeric"], numbers),
        "missing": table["missing"],
        "categorical": table["categorical"].masked_fill(is_unknown, 0),
    }


def drop_points(cloud: Parts, severity: float, generator: Generator) -> Parts:
    """Leave points out at random.

    Args:
        cloud: points [B, C, N] and mask [B, N].
        severity: probability that a point is left out; the one with the largest lot of each cloud stays.
        generator: of random numbers.

    Returns:
        the same parts; what is left out is padding.
    """
    lots = _uniform(cloud["mask"].shape, generator).masked_fill(~cloud["mask"], -1)
    stays = cloud["mask"] & ((lots >= severity) | (lots == lots.amax(1, keepdim=True)))
    return {"points": cloud["points"] * stays.unsqueeze(1), "mask": stays}


def add_range_noise(cloud: Parts, severity: float, generator: Generator) -> Parts:
    """Mix points with noise of the same power, 1 - severity to severity: coordinates and features.

    Args:
        cloud: points [B, C, N] and mask [B, N].
        severity: share of the noise in the result.
        generator: of random numbers.

    Returns:
        the same parts; the mask does not change.
    """
    is_real = cloud["mask"].unsqueeze(1).expand_as(cloud["points"])
    return {**cloud, "points": _mix_with_noise(cloud["points"], is_real, severity, generator)}


CORRUPTIONS: dict[str, dict[str, Corruption]] = {  # by kind, then by name in evaluation.json
    "image": {"gaussian": add_gaussian_noise, "occlusion": occlude},
    "text": {"dropped": drop_tokens, "replaced": replace_tokens},
    "audio": {"white_noise": add_white_noise},
    "tabular": {"permuted": permute_cells, "noise": add_cell_noise},
    "series": {"noise": add_sensor_noise},
    "points": {"dropped": drop_points, "noise": add_range_noise},
    "video": {"gaussian": add_gaussian_noise, "dropped": drop_frames},
}


def _mix_with_noise(signal: Tensor, is_real: Tensor, severity: float, generator: Generator) -> Tensor:  # [B, ...]
    """Mix each row with noise of the same power, except where it is padding."""
    inner = tuple(range(1, signal.dim()))
    power = (signal.square() * is_real).sum(inner, keepdim=True) / is_real.sum(inner, keepdim=True).clamp(min=1)
    noise = _normal(signal, generator) * power.sqrt()
    return torch.where(is_real, (1 - severity) * signal + severity * noise, signal)


def _is_after_first(mask: Tensor) -> Tensor:  # [B, T]
    """Return which tokens are real and not the first of their row."""
    return mask & (torch.arange(mask.shape[1], device=mask.device) > 0)


def _uniform(shape: torch.Size, generator: Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _normal(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device)
