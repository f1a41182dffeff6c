"""Image models of timm that read sound: its log-mel spectrogram is their picture."""

from torch import Tensor

from mmrun.models.encoders.logmel import LogMel
from mmrun.models.encoders.timm import Timm
from mmrun.types import Encoder, Features


class LogMelTimm(Encoder):
    """A log-mel spectrogram of the whole clip, silence at its end included, read as a grey picture (Gong et al. 2021).

    Weights learned on pictures know colour: timm adds up those of the three channels.
    """

    kind = "audio"

    def __init__(
        self,
        sample_rate: int,
        num_samples: int,
        model: str = "resnet18",
        pretrained: bool | str = False,
        grad_checkpointing: bool = False,
        n_mels: int = 128,
        n_fft: int = 1024,
        hop_length: int = 512,
        mel_scale: str = "slaney",
        normalize: str = "fixed",
    ) -> None:
        super().__init__()
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length, mel_scale, normalize)
        num_frames = 1 + num_samples // hop_length
        self.picture = Timm(model, 1, (n_mels, num_frames), pretrained, grad_checkpointing)
        self.dim = self.picture.dim

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        features: Features = self.picture.read(self.logmel(x["waveform"]).unsqueeze(1))  # standardised already
        return features
