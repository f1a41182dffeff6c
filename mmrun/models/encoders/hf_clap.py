"""The audio tower of CLAP. Its spectrograms are computed here for whole batches, on the model's device."""

from typing import TypedDict, cast

import torch
from torch import Tensor
from transformers.audio_utils import mel_filter_bank
from transformers.feature_extraction_utils import FeatureExtractionMixin

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import load_settings
from mmrun.models.encoders.hf_towers import Projected
from mmrun.models.encoders.pretrained import encode_example
from mmrun.types import Encoder, Features


class SpectrogramSettings(TypedDict):
    """What is read of a CLAP's preprocessor_config.json.

    Attributes:
        sampling_rate: Hz.
        max_length_s: seconds that the model reads.
        fft_window_size: samples of a window.
        hop_length: samples from one window to the next.
        feature_size: bands.
        frequency_min: Hz, of the lowest band.
        frequency_max: Hz, of the highest band.
    """

    sampling_rate: int
    max_length_s: int
    fft_window_size: int
    hop_length: int
    feature_size: int
    frequency_min: float
    frequency_max: float


USUAL: SpectrogramSettings = {  # of the published models
    "sampling_rate": 48000,
    "max_length_s": 10,
    "fft_window_size": 1024,
    "hop_length": 480,
    "feature_size": 64,
    "frequency_min": 50,
    "frequency_max": 14000,
}


class AudioTower(Encoder):
    """The audio tower of CLAP (Wu et al., 2023), of the variant without feature fusion.

    A clip that is shorter than the model reads is repeated as often as it fits, as in the model's training.

    Args:
        model: name on the hub, or a local folder.
        sample_rate: Hz; must be that of the model.
        num_samples: S.
        pretrained: False: random weights.
        grad_checkpointing: see `hf.load_model`.

    Raises:
        ConfigError: the model cannot be loaded, has no such tower, or reads another rate or shorter clips.
    """

    kind = "audio"
    window: Tensor
    filters: Tensor

    def __init__(
        self, model: str, sample_rate: int, num_samples: int, pretrained: bool = True, grad_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.net = Projected(model, self.kind, pretrained, grad_checkpointing)
        if self.net.tower.config.enable_fusion:
            raise ConfigError(
                f"{model} fuses parts of long clips, which mmrun does not; choose an unfused CLAP, for example "
                "laion/clap-htsat-unfused"
            )
        loaded = load_settings(FeatureExtractionMixin.get_feature_extractor_dict, model) if pretrained else {}
        settings = cast(SpectrogramSettings, {**USUAL, **loaded})
        rate, size = settings["sampling_rate"], settings["fft_window_size"]
        if sample_rate != rate:
            raise ConfigError(
                f"{model} reads sound at {rate} Hz, not {sample_rate}; pass preprocess.sample_rate={rate}"
            )
        self.hop_length = settings["hop_length"]
        self.num_samples = rate * settings["max_length_s"]
        lowest, highest = settings["frequency_min"], settings["frequency_max"]
        bank = mel_filter_bank(
            size // 2 + 1, settings["feature_size"], lowest, highest, rate, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("filters", torch.tensor(bank.T, dtype=torch.float32), persistent=False)
        clip = {"waveform": torch.zeros(1, num_samples), "length": torch.tensor([num_samples])}
        self.dim = encode_example(self, clip, f"{model} cannot read {num_samples} samples").pooled.shape[1]

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode and project.

        Args:
            x: waveform [B, S] and length [B].

        Returns:
            Pooled [B, D], and the cells of the last feature map [B, T, D].
        """
        return Features(*self.net(input_features=self.compute_spectrogram(x["waveform"], x["length"])))

    def compute_spectrogram(self, waveform: Tensor, length: Tensor) -> Tensor:
        """Compute the log-mel spectrogram that ClapFeatureExtractor computes.

        Args:
            waveform: [B, S].
            length: [B], real samples.

        Returns:
            In decibels, [B, 1, frames, bands].

        Raises:
            ValueError: the waveform is longer than the model reads.
        """
        if waveform.shape[1] > self.num_samples:
            raise ValueError(f"it reads at most {self.num_samples}")
        length = length.clamp(min=1).unsqueeze(1)
        steps = torch.arange(self.num_samples, device=waveform.device).expand(len(waveform), -1)
        is_filled = steps < self.num_samples // length * length
        with torch.autocast(waveform.device.type, enabled=False):
            repeated = waveform.float().gather(1, steps % length) * is_filled  # [B, num_samples]
            spectrum = torch.stft(repeated, len(self.window), self.hop_length, window=self.window, return_complex=True)
            power = self.filters @ spectrum.abs().square()  # [B, bands, frames]
            return 10 * power.clamp(min=1e-10).log10().transpose(1, 2).unsqueeze(1)
