"""How a modality goes bad, by kind: batches of inputs spoiled to a severity between 0, untouched, and 1, nothing left.

A corruption leaves its input as it is and takes all chance from `draw`. What it draws does not depend on the severity,
so that the points of a curve differ by the severity alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

Corruption = Callable[[Any, float, Generator], Any]
Parts = dict[str, Tensor]


def gaussian(image: Tensor, severity: float, draw: Generator) -> Tensor:  # [B, C, H, W]
    """Add noise whose deviation is `severity` of the brightness range (Hendrycks & Dietterich, 2019)."""
    return (image + severity * _normal(image, draw)).clamp(0, 1)


def occlusion(image: Tensor, severity: float, draw: Generator) -> Tensor:  # [B, C, H, W]
    """Hide a square of `severity` of the area, anywhere, in grey (DeVries & Taylor, 2017)."""
    side = severity**0.5  # as a share of each side
    corner = _uniform(torch.Size([len(image), 2]), draw) * (1 - side)
    inside = []
    for size, start in zip(image.shape[-2:], corner.unbind(1), strict=True):
        place = (torch.arange(size, device=image.device) + 0.5) / size - start[:, None]
        inside.append((place >= 0) & (place < side))  # [B, H], then [B, W]
    return image.masked_fill(inside[0][:, None, :, None] & inside[1][:, None, None, :], 0.5)


def white_noise(audio: Parts, severity: float, draw: Generator) -> Parts:
    """Mix with white noise as loud as the recording itself: 1 - severity of the one and severity of the other.

    The signal-to-noise ratio is 20 log10((1 - severity) / severity) dB: 19, 12, 3.5 and -12 dB at 0.1, 0.2, 0.4, 0.8.
    """
    sound = audio["waveform"]
    real = torch.arange(sound.shape[1], device=sound.device) < audio["length"][:, None]
    return {**audio, "waveform": _mixed(sound, real, severity, draw).clamp(-1, 1)}


def sensor_noise(series: Parts, severity: float, draw: Generator) -> Parts:
    """Mix with white noise of the power of the series, as `white_noise` does."""
    real = series["mask"][:, None].expand_as(series["values"])
    return {**series, "values": _mixed(series["values"], real, severity, draw)}


def dropped(text: Parts, severity: float, draw: Generator) -> Parts:
    """Leave out each token with probability `severity`, and close up; the first, a mark of most tokenizers, stays."""
    gone = (_uniform(text["ids"].shape, draw) < severity) & _after_first(text["mask"])
    kept = text["mask"] & ~gone
    order = (~kept).int().argsort(dim=1, stable=True)
    return {"ids": text["ids"].take_along_dim(order, 1), "mask": kept.take_along_dim(order, 1)}


def replaced(text: Parts, severity: float, draw: Generator) -> Parts:
    """Put in the place of each token but the first, with probability `severity`, one from any text of the batch."""
    after = _after_first(text["mask"])
    pool = text["ids"][after]
    if len(pool) == 0:  # no row of the batch has a text
        return text
    other = pool[(_uniform(text["ids"].shape, draw) * len(pool)).long()]
    wrong = (_uniform(text["ids"].shape, draw) < severity) & after
    return {**text, "ids": torch.where(wrong, other, text["ids"])}


def permuted(table: Parts, severity: float, draw: Generator) -> Parts:
    """Replace each cell, with probability `severity`, by that of another row of the batch."""
    spoiled = {}
    for group in (("numeric", "missing"), ("categorical",)):  # a number and its flag stay together
        shape = table[group[0]].shape
        order = _uniform(shape, draw).argsort(dim=0)
        wrong = _uniform(shape, draw) < severity
        for part in group:
            spoiled[part] = torch.where(wrong, table[part].take_along_dim(order, 0), table[part])
    return spoiled


def cell_noise(table: Parts, severity: float, draw: Generator) -> Parts:
    """Mix each number with one of chance; make each category, with probability `severity`, an unknown one."""
    numbers = (1 - severity) * table["numeric"] + severity * _normal(table["numeric"], draw)
    unknown = _uniform(table["categorical"].shape, draw) < severity
    return {
        "numeric": torch.where(table["missing"], table["numeric"], numbers),
        "missing": table["missing"],
        "categorical": table["categorical"].masked_fill(unknown, 0),
    }


CORRUPTIONS: dict[str, dict[str, Corruption]] = {  # by kind
    "image": {"gaussian": gaussian, "occlusion": occlusion},
    "text": {"dropped": dropped, "replaced": replaced},
    "audio": {"white_noise": white_noise},
    "tabular": {"permuted": permuted, "noise": cell_noise},
    "series": {"noise": sensor_noise},
}


def _mixed(signal: Tensor, real: Tensor, severity: float, draw: Generator) -> Tensor:  # [B, ...]
    """Mix with noise of the same power, row by row, where the signal is real."""
    inner = tuple(range(1, signal.dim()))
    power = (signal.square() * real).sum(inner, keepdim=True) / real.sum(inner, keepdim=True).clamp(min=1)
    noise = _normal(signal, draw) * power.sqrt()
    return torch.where(real, (1 - severity) * signal + severity * noise, signal)


def _after_first(mask: Tensor) -> Tensor:  # [B, T]
    """Return which tokens are real and not a row's first."""
    return mask & (torch.arange(mask.shape[1], device=mask.device) > 0)


def _uniform(shape: torch.Size, draw: Generator) -> Tensor:
    return torch.rand(shape, generator=draw, device=draw.device)


def _normal(like: Tensor, draw: Generator) -> Tensor:
    return torch.randn(like.shape, generator=draw, device=draw.device)
