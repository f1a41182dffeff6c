"""Learn from inputs that are never twice the same: each modality is changed as its kind allows, anew for each batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.denoise import lose_cells
from mmrun.objectives.views import cropped, relit
from mmrun.types import Batch, Input, Objective

Parts = dict[str, Tensor]


class Augment(Objective):
    """The wrapped objective, on augmented inputs; a kind for which there is nothing stays as it is.

    Everything inside, a teacher or a balance too, sees the same augmented batch. Validation sees the rows as they are.
    """

    def __init__(
        self,
        objective: Objective,
        by_kind: Mapping[str, Callable[..., nn.Module]],
        kinds: Mapping[str, str],
        metadata: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.objective = objective
        self.change = nn.ModuleDict({m: by_kind[kind](**metadata[m]) for m, kind in kinds.items() if kind in by_kind})

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective."""
        if self.training:
            with torch.autocast(batch.index.device.type, enabled=False):
                changed: dict[str, Input] = {m: own(batch.inputs[m]) for m, own in self.change.items()}
            batch = batch._replace(inputs={**batch.inputs, **changed})
        losses: dict[str, Tensor] = self.objective(model, batch)
        return losses

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients as the wrapped objective does."""
        self.objective.backward(model, losses, scale)


# ------------------------------------------------------------- by kind; each draws from torch's generator of the device


class AugmentImage(nn.Module):
    """A part of the picture (Szegedy et al., 2015), mirrored or not, in other light; pixels stay in 0..1."""

    def __init__(self, crop: float, flip: float, jitter: float) -> None:
        super().__init__()
        self.crop = _positive(_share(crop, "image", "crop"), "image", "crop")
        self.flip = _share(flip, "image", "flip")
        self.jitter = _share(jitter, "image", "jitter")

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W]
        """Draw a view of each picture."""
        return relit(cropped(x, self.crop, self.flip), self.jitter)


class AugmentAudio(nn.Module):
    """Sounds shifted in time, louder or softer, with white noise (Salamon & Bello, 2017); samples stay in -1..1.

    A sound stays within its length; what is shifted beyond an end is lost, and silence comes in at the other.
    """

    def __init__(self, shift: float, gain: float, snr: float) -> None:
        super().__init__()
        self.shift = _share(shift, "audio", "shift")
        self.gain = _not_below_0(gain, "audio", "gain")
        self.snr = snr

    def forward(self, x: Parts) -> Parts:
        """Change each sound."""
        waveform, length = x["waveform"], x["length"].unsqueeze(1)  # [B, S], [B, 1]
        steps = torch.arange(waveform.shape[1], device=waveform.device)
        source = steps - (self.shift * _between(-1, 1, length) * length).round().long()  # [B, S]
        real = steps < length
        sound = waveform.gather(1, source.clamp(0, len(steps) - 1)).where(real & (source >= 0) & (source < length), 0)
        sound = sound * 10 ** (self.gain * _between(-1, 1, length) / 20)
        loudness = (sound.square().sum(1, keepdim=True) / length.clamp(min=1)).sqrt()
        noise = loudness * 10 ** (-self.snr / 20) * _between(0, 1, length) * torch.randn_like(sound)
        return {**x, "waveform": (sound + noise).where(real, 0).clamp(-1, 1)}


class AugmentText(nn.Module):
    """Words hidden behind the mask token (word dropout: Iyyer et al., 2015); tokens that are no words stay."""

    special: Tensor

    def __init__(self, drop: float, mask_id: int, special_ids: Sequence[int] = ()) -> None:
        super().__init__()
        self.drop, self.mask_id = _share(drop, "text", "drop"), mask_id
        self.register_buffer("special", torch.tensor(list(special_ids), dtype=torch.int64), persistent=False)

    def forward(self, x: Parts) -> Parts:
        """Hide some words of each text."""
        ids = x["ids"]  # [B, T]
        words = x["mask"] & (ids.unsqueeze(-1) != self.special).all(-1)  # torch.isin may wait for the device
        hidden = words & (torch.rand(ids.shape, device=ids.device) < self.drop)
        return {**x, "ids": ids.masked_fill(hidden, self.mask_id)}


class AugmentTabular(nn.Module):
    """Noise on the numbers that are there, and cells that go missing (Vincent et al., 2010)."""

    def __init__(self, noise: float, drop: float) -> None:
        super().__init__()
        self.noise = _not_below_0(noise, "tabular", "noise")
        self.drop = _share(drop, "tabular", "drop")

    def forward(self, x: Parts) -> Parts:
        """Change the cells of each row."""
        return lose_cells(x, self.drop, self.noise)


class AugmentSeries(nn.Module):
    """Noise, each channel larger or smaller (Um et al., 2017), one span of time at 0, the mean (Park et al., 2019)."""

    def __init__(self, noise: float, scale: float, hide: float) -> None:
        super().__init__()
        self.noise = _not_below_0(noise, "series", "noise")
        self.scale = _share(scale, "series", "scale")
        self.hide = _share(hide, "series", "hide")

    def forward(self, x: Parts) -> Parts:
        """Change each series, within its real steps."""
        values, real = x["values"], x["mask"]  # [B, C, T], [B, T]
        steps, length = torch.arange(real.shape[1], device=real.device), real.sum(1, keepdim=True)
        span = (self.hide * _between(0, 1, length) * length).round()  # [B, 1]
        start = ((length - span + 1) * _between(0, 1, length)).floor()
        seen = real & ((steps < start) | (steps >= start + span))
        size = 1 + self.scale * (2 * torch.rand(values.shape[:2], device=real.device) - 1)
        changed = values * size.unsqueeze(2) + self.noise * torch.randn_like(values)
        return {**x, "values": changed.where(seen.unsqueeze(1), 0)}


def _between(low: float, high: float, like: Tensor) -> Tensor:  # fp32, shaped as `like`
    return low + (high - low) * torch.rand(like.shape, device=like.device)


def _share(value: float, kind: str, key: str) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"augment.by_kind.{kind}.{key}: {value} is not between 0 and 1")
    return value


def _positive(value: float, kind: str, key: str) -> float:
    if value <= 0:
        raise ConfigError(f"augment.by_kind.{kind}.{key}: {value} is not above 0")
    return value


def _not_below_0(value: float, kind: str, key: str) -> float:
    if value < 0:
        raise ConfigError(f"augment.by_kind.{kind}.{key}: {value} is below 0")
    return value
