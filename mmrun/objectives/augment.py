"""Augmentation: each modality is changed at random as its kind allows, differently in each batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.denoise import drop_cells
from mmrun.objectives.masked_lm import find_words
from mmrun.objectives.views import color_jitter, random_crop
from mmrun.types import Batch, Input, Objective
from mmrun.values import NonNegativeFloat, PositiveShare, Share

Parts = dict[str, Tensor]


class Augmentation(nn.Module):
    """Changes the inputs of a batch at random, by kind; kinds without an augmentation keep theirs.

    Each augmentation names its paper; all draw from the random generator of the device.

    Args:
        by_kind: builds the augmentation of a kind; None: the kind is not augmented.
        kinds: kind of each modality.
        metadata: by modality, the arguments that its preprocessor offers to augmentations.
    """

    def __init__(
        self,
        by_kind: Mapping[str, Callable[..., nn.Module] | None],
        kinds: Mapping[str, str],
        metadata: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.change = nn.ModuleDict()
        for modality, kind in kinds.items():
            build = by_kind.get(kind)
            if build is not None:
                self.change[modality] = build(**metadata[modality])

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with augmented inputs.

        Args:
            batch: is not changed itself.
        """
        augmented: dict[str, Input] = {}
        with torch.autocast(batch.index.device.type, enabled=False):
            for modality, augmentation in self.change.items():
                augmented[modality] = augmentation(batch.inputs[modality])
        return batch._replace(inputs={**batch.inputs, **augmented})


class Augment(Objective):
    """The wrapped objective on augmented inputs.

    Everything inside, also a teacher or a balance, sees the same augmented batch. Validation uses the inputs as they
    are.

    Args:
        objective: to wrap.
        by_kind: builds the augmentation of a kind; None: the kind is not augmented.
        kinds: kind of each modality.
        metadata: by modality, the arguments that its preprocessor offers to augmentations.
    """

    def __init__(
        self,
        objective: Objective,
        by_kind: Mapping[str, Callable[..., nn.Module] | None],
        kinds: Mapping[str, str],
        metadata: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.objective = objective
        self.augmentation = Augmentation(by_kind, kinds, metadata)

    def prepare(self, batch: Batch) -> Batch:
        """Augment the inputs, before an objective inside predicts targets from them; see `Objective.prepare`."""
        prepared: Batch = self.augmentation(batch)
        return prepared

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the wrapped objective.

        Args:
            model: to be trained.
            batch: is not changed itself.
        """
        if self.training and batch.weights is None:
            batch = self.prepare(batch)
        losses: dict[str, Tensor] = self.objective(model, batch)
        return losses

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients as the wrapped objective does; see `Objective.backward`."""
        self.objective.backward(model, losses, scale)


class AugmentImage(nn.Module):
    """Random crop (Szegedy et al., 2015), mirror, brightness, contrast and saturation; pixels stay in 0..1.

    Args:
        crop: smallest share of the area that is seen, above 0 and up to 1.
        flip: probability that an image is mirrored.
        jitter: largest relative change of brightness, contrast and saturation, 0..1.
        gray: probability that a colour image becomes grey.
        max_crop: largest share of the area that is seen, at least `crop`.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self, crop: PositiveShare, flip: Share, jitter: Share, gray: Share = 0.0, max_crop: PositiveShare = 1.0
    ) -> None:
        super().__init__()
        if max_crop < crop:
            raise ConfigError(f"max_crop={max_crop} is below crop={crop}")
        self.gray, self.max_crop = gray, max_crop
        self.crop = _check_positive(_check_share(crop, "image", "crop"), "image", "crop")
        self.flip = _check_share(flip, "image", "flip")
        self.jitter = _check_share(jitter, "image", "jitter")

    def forward(self, x: Tensor) -> Tensor:
        """Return a view of each image: [B, C, H, W] -> [B, C, H, W]."""
        return color_jitter(random_crop(x, self.crop, self.flip, self.max_crop), self.jitter, self.gray)


class AugmentAudio(nn.Module):
    """Shift in time, gain and white noise (Salamon & Bello, 2017); samples stay in -1..1.

    A clip keeps its length: what is shifted beyond one end is lost, and the other end becomes silent.

    Args:
        shift: largest shift, as a share of the length, 0..1.
        gain: largest change of the volume, in dB.
        snr: lowest signal-to-noise ratio, in dB.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, shift: Share, gain: NonNegativeFloat, snr: float) -> None:
        super().__init__()
        self.shift = _check_share(shift, "audio", "shift")
        self.gain = _check_not_negative(gain, "audio", "gain")
        self.snr = snr

    def forward(self, x: Parts) -> Parts:
        """Return each clip augmented.

        Args:
            x: audio; only the waveform changes.
        """
        waveform, length = x["waveform"], x["length"].unsqueeze(1)  # [B, S], [B, 1]
        samples = torch.arange(waveform.shape[1], device=waveform.device)
        source = samples - (self.shift * _draw_uniform(-1, 1, length) * length).round().long()  # [B, S]
        real = samples < length
        in_clip = real & (source >= 0) & (source < length)
        signal = waveform.gather(1, source.clamp(0, len(samples) - 1)).where(in_clip, 0)
        signal = signal * 10 ** (self.gain * _draw_uniform(-1, 1, length) / 20)
        rms = (signal.square().sum(1, keepdim=True) / length.clamp(min=1)).sqrt()
        noise = rms * 10 ** (-self.snr / 20) * _draw_uniform(0, 1, length) * torch.randn_like(signal)
        return {**x, "waveform": (signal + noise).where(real, 0).clamp(-1, 1)}


class AugmentText(nn.Module):
    """Word dropout (Iyyer et al., 2015): words are replaced by the mask token; special tokens stay.

    Args:
        drop: probability that a word is replaced.
        mask_id: of the mask token.
        special_ids: tokens that are no words.

    Raises:
        ConfigError: `drop` is out of range.
    """

    special: Tensor

    def __init__(self, drop: Share, mask_id: int, special_ids: Sequence[int] = ()) -> None:
        super().__init__()
        self.drop, self.mask_id = _check_share(drop, "text", "drop"), mask_id
        self.register_buffer("special", torch.tensor(list(special_ids), dtype=torch.int64), persistent=False)

    def forward(self, x: Parts) -> Parts:
        """Return each text with some words masked.

        Args:
            x: text; only the ids change.
        """
        ids = x["ids"]  # [B, T]
        dropped = find_words(x, self.special) & (torch.rand(ids.shape, device=ids.device) < self.drop)
        return {**x, "ids": ids.masked_fill(dropped, self.mask_id)}


class AugmentTabular(nn.Module):
    """Noise on numbers, and cells that go missing (Vincent et al., 2010).

    Args:
        noise: standard deviation of the noise on standardised numbers.
        drop: probability that a cell goes missing.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, noise: NonNegativeFloat, drop: Share) -> None:
        super().__init__()
        self.noise = _check_not_negative(noise, "tabular", "noise")
        self.drop = _check_share(drop, "tabular", "drop")

    def forward(self, x: Parts) -> Parts:
        """Return each row augmented.

        Args:
            x: table; numbers that are missing stay so.
        """
        return drop_cells(x, self.drop, self.noise)


class AugmentSeries(nn.Module):
    """Noise, scaled channels (Um et al., 2017), and one masked span of time (Park et al., 2019).

    Args:
        noise: standard deviation of the noise on standardised values.
        scale: largest relative change of a channel's scale, 0..1.
        hide: longest span that is set to 0, the mean, as a share of the length.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(self, noise: NonNegativeFloat, scale: Share, hide: Share) -> None:
        super().__init__()
        self.noise = _check_not_negative(noise, "series", "noise")
        self.scale = _check_share(scale, "series", "scale")
        self.hide = _check_share(hide, "series", "hide")

    def forward(self, x: Parts) -> Parts:
        """Return each series augmented, within its real steps.

        Args:
            x: series; only the values change.
        """
        values, real = x["values"], x["mask"]  # [B, C, T], [B, T]
        steps, length = torch.arange(real.shape[1], device=real.device), real.sum(1, keepdim=True)
        span = (self.hide * _draw_uniform(0, 1, length) * length).round()  # [B, 1]
        start = ((length - span + 1) * _draw_uniform(0, 1, length)).floor()
        visible = real & ((steps < start) | (steps >= start + span))
        scale = 1 + self.scale * (2 * torch.rand(values.shape[:2], device=real.device) - 1)
        changed = values * scale.unsqueeze(2) + self.noise * torch.randn_like(values)
        return {**x, "values": changed.where(visible.unsqueeze(1), 0)}


def _draw_uniform(low: float, high: float, like: Tensor) -> Tensor:  # fp32, shaped as `like`
    return low + (high - low) * torch.rand(like.shape, device=like.device)


def _check_share(value: float, kind: str, key: str) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"augment.by_kind.{kind}.{key}: {value} is not between 0 and 1")
    return value


def _check_positive(value: float, kind: str, key: str) -> float:
    if value <= 0:
        raise ConfigError(f"augment.by_kind.{kind}.{key}: {value} is not above 0")
    return value


def _check_not_negative(value: float, kind: str, key: str) -> float:
    if value < 0:
        raise ConfigError(f"augment.by_kind.{kind}.{key}: {value} is below 0")
    return value
