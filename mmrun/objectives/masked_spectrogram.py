"""Audio: recover the sound of spans that were silenced."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmrun.models.encoders.logmel import LogMel
from mmrun.objectives.pretext import GridDecoder, Pretext, checked_share, hidden_blocks
from mmrun.types import Features


class MaskedSpectrogram(Pretext):
    """Masked modelling of the log-mel spectrogram (Huang et al., 2022), decoded whole from the pooled vector.

    What is wanted is each clip's spectrogram less its own mean and deviation, so that loudness does not count.
    """

    def __init__(
        self,
        dim: int,
        sample_rate: int,
        num_samples: int,
        ratio: float = 0.4,
        spans: int = 16,
        n_mels: int = 64,
        n_fft: int = 256,
        hop_length: int = 128,
        max_frames: int = 64,
    ) -> None:
        super().__init__()
        self.ratio = checked_share(ratio, "audio")
        self.spans = spans
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length)
        self.size = (n_mels, min(1 + num_samples // hop_length, max_frames))
        self.decoder = GridDecoder(dim, 1, *self.size)

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Silence some of `spans` equal spans of time."""
        waveform = x["waveform"]  # [B, S]
        hidden = hidden_blocks(waveform, self.ratio, (self.spans,), (waveform.shape[1],)).squeeze(1)
        return {**x, "waveform": waveform.masked_fill(hidden, 0)}, x

    def loss(self, features: Features, wanted: dict[str, Tensor]) -> Tensor:  # [B]
        """Mean squared error of the standardised spectrogram, over the frames that hold sound and not padding."""
        frames = self.size[1]
        mel = F.adaptive_avg_pool2d(self.logmel(wanted["waveform"]).float(), self.size)  # [B, M, frames]
        start = torch.arange(frames, device=mel.device) * (wanted["waveform"].shape[1] / frames)
        real = (start < wanted["length"].unsqueeze(1)).unsqueeze(1).expand_as(mel)
        count = real.sum((1, 2), keepdim=True).clamp(min=1)
        mean = (mel * real).sum((1, 2), keepdim=True) / count
        variance = ((mel - mean).square() * real).sum((1, 2), keepdim=True) / count
        error = self.decoder(features.pooled).squeeze(1) - (mel - mean) / (variance + 1e-4).sqrt()  # 1e-4: silence
        return (error.square() * real).sum((1, 2)) / count.flatten()
