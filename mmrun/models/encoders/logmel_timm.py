"""Image models of timm on log-mel spectrograms."""

from torch import Tensor

from mmrun.models.encoders.logmel import LogMel, MelScale, Normalization
from mmrun.models.encoders.timm import Timm
from mmrun.types import Encoder, Features
from mmrun.values import Width


class LogMelTimm(Encoder):
    """An image model over the log-mel spectrogram of the whole clip, read as a grey image (after Gong et al., 2021).

    Trailing silence is read, too. Of weights pretrained on colour images, timm sums the three input channels.

    Args:
        sample_rate: in Hz.
        num_samples: S.
        model: its name in timm.
        pretrained: True: timm's weights; False: random ones; or the path of a .safetensors file.
        grad_checkpointing: see `timm.Timm`.
        n_mels: bands, the height of the image.
        n_fft: window, in samples.
        hop_length: from one window to the next, in samples.
        mel_scale: slaney or htk.
        normalize: fixed or clip; see `logmel.LogMel`.

    Raises:
        ConfigError: see `timm.Timm` and `logmel.LogMel`.
    """

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        num_samples: int,
        model: str = "resnet18",
        pretrained: bool | str = False,
        grad_checkpointing: bool = False,
        n_mels: Width = 128,
        n_fft: Width = 1024,
        hop_length: Width = 512,
        mel_scale: MelScale = "slaney",
        normalize: Normalization = "fixed",
    ) -> None:
        super().__init__()
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)
        num_frames = 1 + num_samples // hop_length
        self.picture = Timm(model, 1, (n_mels, num_frames), pretrained, grad_checkpointing)
        self.dim = self.picture.dim

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: waveform [B, S] and length [B], which is ignored.

        Returns:
            Pooled [B, D] and tokens [B, T, D], the cells of the last feature map.
        """
        image = self.logmel(x["waveform"]).unsqueeze(1)  # [B, 1, n_mels, frames]
        return self.picture.encode_normalized(image)  # a log-mel spectrogram is standardised already
