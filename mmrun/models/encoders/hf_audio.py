"""Audio encoders of Hugging Face transformers: wav2vec 2.0 and its kin, Whisper's encoder, AST.

What they were trained to read is made here for whole batches, on the model's device: transformers' own feature
extractors make it in numpy, one sound at a time.
"""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank
from transformers.feature_extraction_utils import FeatureExtractionMixin

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import load, preprocessor
from mmrun.models.encoders.pretrained import try_out
from mmrun.models.encoders.sequence import masked_mean, readable
from mmrun.types import Encoder, Features

RATE = 16000  # Hz; what all of them read
HOP = 160  # samples from one frame of a spectrogram to the next


def hf_audio(
    model: str, sample_rate: int, num_samples: int, pretrained: bool = True, grad_checkpointing: bool = False
) -> Encoder:
    """Build the encoder of the model's family, its weights loaded or drawn."""
    if sample_rate != RATE:
        raise ConfigError(f"{model} reads sound at {RATE} Hz, not {sample_rate}; pass preprocess.sample_rate={RATE}")
    # Layers and spans dropped at random would leave parameters without a gradient, and are drawn by numpy.
    net = load(model, pretrained, grad_checkpointing, layerdrop=0.0, apply_spec_augment=False)
    settings = preprocessor(FeatureExtractionMixin.get_feature_extractor_dict, model) if pretrained else {}
    family = {"whisper": Whisper, "audio-spectrogram-transformer": Ast}.get(net.config.model_type, Wave)
    encoder: Encoder = family(net, settings)
    sound = {"waveform": torch.zeros(1, num_samples), "length": torch.tensor([num_samples])}
    encoder.dim = try_out(encoder, sound, f"{model} cannot read {num_samples} samples").pooled.shape[1]
    return encoder


class Wave(Encoder):
    """wav2vec 2.0 (Baevski et al. 2020), HuBERT, WavLM and others that read the wave itself; pooled: the mean step."""

    kind = "audio"

    def __init__(self, net: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        if net.main_input_name != "input_values":
            raise ConfigError(f"audio models are wav2vec 2.0 and its kin, Whisper and AST, not {net.config.model_type}")
        self.net = net
        if hasattr(net, "masked_spec_embed"):
            del net.masked_spec_embed  # stands in for hidden spans; none are hidden here
        self.normalize = settings["do_normalize"] if settings else True
        # A group norm over time was trained with zeros behind the sound, and without a mask over them.
        self.masked = getattr(net.config, "feat_extract_norm", "layer") == "layer"

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        waveform, length = x["waveform"].float(), x["length"]
        num_samples = waveform.shape[1]
        too_short = self._num_steps(length) < 1
        length = torch.where(too_short, num_samples, length).unsqueeze(1)  # then the padding is read
        sounds = torch.arange(num_samples, device=waveform.device) < length  # [B, S]
        if self.normalize:
            mean = (waveform * sounds).sum(dim=1, keepdim=True) / length
            variance = ((waveform - mean).square() * sounds).sum(dim=1, keepdim=True) / length
            waveform = (waveform - mean) / (variance + 1e-7).sqrt() * sounds
        tokens = self.net(waveform, attention_mask=sounds.long() if self.masked else None).last_hidden_state
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        mask = steps < self._num_steps(length)  # [B, T]
        return Features(masked_mean(tokens, mask), tokens, mask)

    def _num_steps(self, length: Tensor) -> Tensor:
        steps: Tensor = self.net._get_feat_extract_output_lengths(length)
        return steps


class Whisper(Encoder):
    """Whisper's encoder (Radford et al. 2023), which always reads 30 s; pooled: the mean of the steps with sound."""

    kind = "audio"
    window: Tensor
    filters: Tensor

    def __init__(self, net: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self.net = net.get_encoder()
        self.num_frames: int = 2 * net.config.max_source_positions
        bank = mel_filter_bank(201, net.config.num_mel_bins, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
        self.register_buffer("window", torch.hann_window(400), persistent=False)
        self.register_buffer("filters", torch.tensor(bank.T, dtype=torch.float32), persistent=False)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        tokens = self.net(self.spectrogram(x["waveform"])).last_hidden_state  # [B, T, D]
        begin = torch.arange(tokens.shape[1], device=tokens.device) * 2 * HOP
        mask = readable(begin < x["length"].unsqueeze(1))
        return Features(masked_mean(tokens, mask), tokens, mask)

    def spectrogram(self, waveform: Tensor) -> Tensor:  # [B, S] -> [B, M, frames]
        """Make what WhisperFeatureExtractor makes."""
        if waveform.shape[1] > self.num_frames * HOP:
            raise ValueError(f"it reads {self.num_frames * HOP} at most")
        with torch.autocast(waveform.device.type, enabled=False):
            padded = F.pad(waveform.float(), (0, self.num_frames * HOP - waveform.shape[1]))
            spectrum = torch.stft(padded, 400, HOP, window=self.window, return_complex=True)[..., :-1]
            logs = (self.filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
            return (torch.maximum(logs, logs.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


class Ast(Encoder):
    """The Audio Spectrogram Transformer (Gong et al. 2021); pooled: its two class tokens' mean."""

    kind = "audio"
    window: Tensor
    filters: Tensor

    def __init__(self, net: Any, settings: dict[str, Any]) -> None:
        super().__init__()
        self.net = net
        self.num_frames: int = net.config.max_length
        self.mean: float = settings["mean"] if settings else -4.2677393  # of AudioSet
        self.std: float = settings["std"] if settings else 4.5689974
        with warnings.catch_warnings(action="ignore"):  # its lowest bands are empty; so they were in its training
            bank = mel_filter_bank(
                257, net.config.num_mel_bins, 20.0, RATE / 2, RATE, mel_scale="kaldi", triangularize_in_mel_space=True
            )
        self.register_buffer("window", torch.hann_window(400, periodic=False), persistent=False)
        self.register_buffer("filters", torch.tensor(bank, dtype=torch.float32), persistent=False)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        read = self.net(self.spectrogram(x["waveform"], x["length"]))
        return Features(read.pooler_output, read.last_hidden_state)

    def spectrogram(self, waveform: Tensor, length: Tensor) -> Tensor:  # [B, S], [B] -> [B, frames, M]
        """Make what ASTFeatureExtractor makes: Kaldi's filter banks, zero where no sound is, then standardised."""
        if waveform.shape[1] > self.num_frames * HOP:
            raise ValueError(f"it reads {self.num_frames * HOP} at most")
        with torch.autocast(waveform.device.type, enabled=False):
            frames = waveform.float().unfold(1, 400, HOP)  # [B, frames, 400]
            frames = frames - frames.mean(dim=2, keepdim=True)
            frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], dim=2)  # pre-emphasis
            power = torch.fft.rfft(frames * self.window, 512).abs().square()  # [B, frames, 257]
            logs = (power @ self.filters).clamp(min=torch.finfo(torch.float32).eps).log()
            real = torch.arange(logs.shape[1], device=logs.device) < (length.unsqueeze(1) - 400) // HOP + 1
            logs = logs * real.unsqueeze(-1)
            padded = F.pad(logs, (0, 0, 0, self.num_frames - logs.shape[1]))
            return (padded - self.mean) / (self.std * 2)
