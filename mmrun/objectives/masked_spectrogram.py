"""Audio: recover the spectrogram of spans that were silenced."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.models.encoders.logmel import LogMel
from mmrun.objectives.pretext import GridDecoder, Pretext, check_share, draw_hidden_spans
from mmrun.types import Features
from mmrun.values import PositiveShare, Width


class MaskedSpectrogram(Pretext):
    """Masked modelling of the log-mel spectrogram (after Huang et al., 2022), decoded from the pooled vector.

    Only frames in silenced spans count. The target is each clip's spectrogram, standardised by itself, so that loudness
    does not matter.

    Args:
        dim: width of the encoder's features.
        sample_rate: in Hz.
        num_samples: S, length of the padded clips.
        ratio: probability that a span is silenced; one at least is.
        spans: number of equal spans that a clip is cut into.
        n_mels: M, mel bands.
        n_fft: samples of a window.
        hop_length: samples from one frame to the next.
        max_frames: longer spectrograms are recovered at this length.

    Raises:
        ConfigError: `ratio` is out of range.
    """

    def __init__(
        self,
        dim: int,
        sample_rate: int,
        num_samples: int,
        ratio: PositiveShare = 0.4,
        spans: Width = 16,
        n_mels: Width = 64,
        n_fft: Width = 256,
        hop_length: Width = 128,
        max_frames: Width = 64,
    ) -> None:
        super().__init__()
        self.ratio = check_share(ratio, "audio")
        self.num_samples, self.spans = num_samples, spans
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length)
        self.size = (n_mels, min(1 + num_samples // hop_length, max_frames))
        self.decoder = GridDecoder(dim, 1, *self.size)

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the audio with silenced spans, and the target: waveform, and real and hidden frames.

        Args:
            x: audio of B clips.
            present: is not used.
        """
        waveform, cropped = x["waveform"], self.num_samples - x["waveform"].shape[1]
        if cropped:
            waveform = F.pad(waveform, (0, cropped))  # [B, S]
        samples, frames = self.num_samples, self.size[1]
        start = torch.arange(frames, device=waveform.device) * (samples / frames)  # of each frame
        real = start < x["length"].unsqueeze(1)  # [B, frames]
        hidden = draw_hidden_spans(real, self.ratio, self.spans)
        frame = torch.arange(samples, device=waveform.device) * frames // samples  # of each sample
        target = {"waveform": waveform, "real": real, "hidden": hidden & real}
        silenced = waveform.masked_fill(hidden[:, frame], 0)[:, : x["waveform"].shape[1]]
        return {**x, "waveform": silenced}, target

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the mean squared error of the standardised spectrogram over the hidden frames, [B].

        Args:
            features: pooled [B, D].
            target: that `corrupt` returned.
        """
        mel = F.adaptive_avg_pool2d(self.logmel(target["waveform"]).float(), self.size)  # [B, M, frames]
        standardised = _standardise(mel, target["real"])
        error = (self.decoder(features.pooled).squeeze(1) - standardised).square().mean(1)  # [B, frames]
        total: Tensor = (error * target["hidden"]).sum(1)
        return total / target["hidden"].sum(1).clamp(min=1)


def _standardise(mel: Tensor, real: Tensor) -> Tensor:
    """Standardise each spectrogram [B, M, frames] by its real frames [B, frames]."""
    real = real.unsqueeze(1).expand_as(mel)
    count = real.sum((1, 2), keepdim=True).clamp(min=1)
    mean = (mel * real).sum((1, 2), keepdim=True) / count
    variance = ((mel - mean).square() * real).sum((1, 2), keepdim=True) / count
    return (mel - mean) / (variance + 1e-4).sqrt()  # 1e-4: silence
