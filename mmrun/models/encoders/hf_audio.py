"""Audio encoders of Hugging Face transformers: wav2vec 2.0 and similar models, Whisper's encoder, AST.

Their inputs are computed here for whole batches, on the model's device; transformers' own feature extractors work in
numpy, one clip at a time.
"""

import warnings
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.audio_utils import mel_filter_bank
from transformers.feature_extraction_utils import FeatureExtractionMixin

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import Settings, load_model, load_settings
from mmrun.models.encoders.pretrained import encode_example
from mmrun.models.encoders.sequence import masked_mean, unmask_empty_rows
from mmrun.types import Encoder, Features, Input

RATE = 16000  # Hz, the sample rate of all these models
HOP = 160  # samples from one frame of a spectrogram to the next
MAX_WINDOW = RATE  # samples; no model needs as many for a step


def hf_audio(
    model: str, sample_rate: int, num_samples: int, pretrained: bool = True, grad_checkpointing: bool = False
) -> Encoder:
    """Build the encoder of a model's family: `Wave`, `Whisper` or `Ast`.

    Args:
        model: name on the hub, or a local folder.
        sample_rate: must be 16,000 Hz.
        num_samples: S.
        pretrained: False: random weights.
        grad_checkpointing: see `hf.load_model`.

    Returns:
        An encoder of waveforms [B, S].

    Raises:
        ConfigError: the sample rate is another, or the model cannot be loaded or cannot read such clips.
    """
    if sample_rate != RATE:
        raise ConfigError(f"{model} reads sound at {RATE} Hz, not {sample_rate}; pass preprocess.sample_rate={RATE}")
    # Layer drop and SpecAugment would leave parameters without a gradient, and draw from numpy's random state.
    net = load_model(model, pretrained, grad_checkpointing, layerdrop=0.0, apply_spec_augment=False)
    settings = load_settings(FeatureExtractionMixin.get_feature_extractor_dict, model) if pretrained else Settings()
    families: dict[str, type[Wave | Whisper | Ast]] = {"whisper": Whisper, "audio-spectrogram-transformer": Ast}
    encoder = families.get(net.config.model_type, Wave)(net, settings)
    clip = {"waveform": torch.zeros(1, num_samples), "length": torch.tensor([num_samples])}
    encoder.dim = encode_example(encoder, clip, f"{model} cannot read {num_samples} samples").pooled.shape[1]
    return encoder


class Wave(Encoder):
    """wav2vec 2.0 (Baevski et al., 2020), HuBERT (Hsu et al., 2021), WavLM and other models of the waveform itself.

    Args:
        net: with `main_input_name` input_values.
        settings: do_normalize, whether clips are standardised; True if there are no settings.

    Raises:
        ConfigError: the model reads no waveforms.
    """

    kind = "audio"

    def __init__(self, net: PreTrainedModel, settings: Settings) -> None:
        super().__init__()
        if net.main_input_name != "input_values":
            raise ConfigError(
                f"{net.config.model_type} models do not read sound; "
                "choose wav2vec 2.0, HuBERT, WavLM or a similar model, Whisper or AST"
            )
        self.net = net
        if hasattr(net, "masked_spec_embed"):
            del net.masked_spec_embed  # replaces masked spans in pre-training; unused here, it would get no gradient
        self.normalize = settings["do_normalize"] if settings else True
        # Models with a group norm over time were trained on zero-padded sound without an attention mask.
        self.masked = getattr(net.config, "feat_extract_norm", "layer") == "layer"
        steps: Tensor = net._get_feat_extract_output_lengths(torch.arange(MAX_WINDOW))
        self.window = int((steps < 1).sum())  # samples of the first step

    @property
    def ignores_padding(self) -> bool:
        """Whether padding is masked."""
        return self.masked

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Standardise each clip if the model expects it, and encode.

        Args:
            x: waveform [B, S] and length [B].

        Returns:
            Pooled [B, D], the mean over the real tokens, and tokens [B, T, D].
        """
        waveform, length, attention_mask = self._read(x)
        tokens = self.net(waveform, attention_mask=attention_mask).last_hidden_state
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        mask = steps < self._count_steps(length)  # [B, T]
        return Features(masked_mean(tokens, mask), tokens, mask)

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return the tokens after each block; see `Encoder.encode_layers`."""
        waveform, _, attention_mask = self._read(cast(dict[str, Tensor], x))
        return list(self.net(waveform, attention_mask=attention_mask, output_hidden_states=True).hidden_states[1:])

    def _read(self, x: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the waveform [B, S] as the model expects it, its length [B, 1], and the attention mask [B, S]."""
        waveform, length = x["waveform"].float(), x["length"]
        num_samples = waveform.shape[1]
        length = length.clamp(min=self.window).unsqueeze(1)  # a shorter clip is read with some of its padding
        real = torch.arange(num_samples, device=waveform.device) < length  # [B, S]
        if self.normalize:
            mean = (waveform * real).sum(dim=1, keepdim=True) / length
            variance = ((waveform - mean).square() * real).sum(dim=1, keepdim=True) / length
            waveform = (waveform - mean) / (variance + 1e-7).sqrt() * real
        return waveform, length, real.long() if self.masked else None

    def _count_steps(self, length: Tensor) -> Tensor:
        steps: Tensor = self.net._get_feat_extract_output_lengths(length)
        return steps


class Whisper(Encoder):
    """Whisper's encoder (Radford et al., 2023), which always reads 30 s; the mean of the steps with sound is pooled.

    Args:
        net: the whole Whisper model.
        settings: unused; Whisper's preprocessing has no settings that differ between models.
    """

    kind = "audio"
    window: Tensor
    filters: Tensor

    def __init__(self, net: PreTrainedModel, settings: Settings) -> None:
        super().__init__()
        self.net = net.get_encoder()
        self.num_frames: int = 2 * net.config.max_source_positions
        bank = mel_filter_bank(201, net.config.num_mel_bins, 0.0, RATE / 2, RATE, norm="slaney", mel_scale="slaney")
        self.register_buffer("window", torch.hann_window(400), persistent=False)
        self.register_buffer("filters", torch.tensor(bank.T, dtype=torch.float32), persistent=False)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: waveform [B, S], at most 30 s, and length [B].

        Returns:
            Pooled [B, D] and tokens [B, T, D].
        """
        tokens = self.net(self.compute_spectrogram(x["waveform"])).last_hidden_state
        begin = torch.arange(tokens.shape[1], device=tokens.device) * 2 * HOP
        mask = unmask_empty_rows(begin < x["length"].unsqueeze(1))
        return Features(masked_mean(tokens, mask), tokens, mask)

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return the tokens after each block; see `Encoder.encode_layers`."""
        spectrogram = self.compute_spectrogram(cast(dict[str, Tensor], x)["waveform"])
        return list(self.net(spectrogram, output_hidden_states=True).hidden_states[1:])

    def compute_spectrogram(self, waveform: Tensor) -> Tensor:
        """Compute the log-mel spectrogram that WhisperFeatureExtractor computes.

        Args:
            waveform: [B, S].

        Returns:
            [B, num_mel_bins, frames], padded with silence to 30 s.

        Raises:
            ValueError: the waveform is longer than that.
        """
        if waveform.shape[1] > self.num_frames * HOP:
            raise ValueError(f"it reads at most {self.num_frames * HOP}")
        with torch.autocast(waveform.device.type, enabled=False):
            padded = F.pad(waveform.float(), (0, self.num_frames * HOP - waveform.shape[1]))
            spectrum = torch.stft(padded, 400, HOP, window=self.window, return_complex=True)[..., :-1]
            logs = (self.filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
            return (torch.maximum(logs, logs.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


class Ast(Encoder):
    """Audio Spectrogram Transformer (Gong et al., 2021); the mean of its two class tokens is pooled.

    Args:
        net: an ASTModel.
        settings: mean and std of the training data's spectrograms; those of AudioSet if there are no settings.
    """

    kind = "audio"
    window: Tensor
    filters: Tensor

    def __init__(self, net: PreTrainedModel, settings: Settings) -> None:
        super().__init__()
        self.net = net
        self.num_frames: int = net.config.max_length
        self.mean = settings["mean"] if settings else -4.2677393
        self.std = settings["std"] if settings else 4.5689974
        with warnings.catch_warnings(action="ignore"):  # the lowest bands are empty, as in the model's training
            bank = mel_filter_bank(
                257, net.config.num_mel_bins, 20.0, RATE / 2, RATE, mel_scale="kaldi", triangularize_in_mel_space=True
            )
        self.register_buffer("window", torch.hann_window(400, periodic=False), persistent=False)
        self.register_buffer("filters", torch.tensor(bank, dtype=torch.float32), persistent=False)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: waveform [B, S] and length [B].

        Returns:
            Pooled [B, D], and all tokens [B, T, D], the two class tokens included.
        """
        output = self.net(self.compute_spectrogram(x["waveform"], x["length"]))
        return Features(output.pooler_output, output.last_hidden_state)

    def compute_spectrogram(self, waveform: Tensor, length: Tensor) -> Tensor:
        """Compute the log-mel filter banks that ASTFeatureExtractor computes with Kaldi.

        Args:
            waveform: [B, S].
            length: [B], real samples.

        Returns:
            [B, frames, num_mel_bins], zero after the end of the sound, then standardised.

        Raises:
            ValueError: the waveform is longer than the model's `max_length`.
        """
        if waveform.shape[1] > self.num_frames * HOP:
            raise ValueError(f"it reads at most {self.num_frames * HOP}")
        with torch.autocast(waveform.device.type, enabled=False):
            frames = waveform.float().unfold(1, 400, HOP)  # [B, frames, 400]
            frames = frames - frames.mean(dim=2, keepdim=True)
            frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], dim=2)  # pre-emphasis
            power = torch.fft.rfft(frames * self.window, 512).abs().square()  # [B, frames, 257]
            logs = (power @ self.filters).clamp(min=torch.finfo(torch.float32).eps).log()
            real = torch.arange(logs.shape[1], device=logs.device) < (length.unsqueeze(1) - 400) // HOP + 1
            logs = logs * real.unsqueeze(-1)
            padded = F.pad(logs, (0, 0, 0, self.num_frames - logs.shape[1]))
            standardised: Tensor = (padded - self.mean) / (self.std * 2)
            return standardised
