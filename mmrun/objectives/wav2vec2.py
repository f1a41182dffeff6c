"""Sound and series: identify what was masked among other masked steps of the same row."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.encoders.logmel import LogMel
from mmrun.objectives.pretext import ScheduledPretext
from mmrun.objectives.token_masks import TokenMask, check_tokens
from mmrun.types import Features, Input
from mmrun.values import NonNegativeFloat, PositiveFloat, Width


class Wav2Vec2(ScheduledPretext):
    """wav2vec 2.0 (Baevski et al., 2020): contrast of quantised latents at masked steps.

    The token of a masked step identifies the quantised latent of that step among those of the row's other masked steps;
    equal ones are no negatives. A penalty keeps all entries of the codebooks in use. Differences from the paper:
    latents come from a layer of convolutions of the objective's own, since encoders do not show theirs; spans are
    hidden in the input; all masked steps of a row are negatives rather than 100 drawn ones; the temperature of the
    Gumbel softmax falls over the whole stage.

    Args:
        dim: width of the encoder's tokens.
        mask: builds the mask of the kind.
        latents: builds what computes local latents of an input: {Sound,Series}Latents.
        num_groups: G, number of codebooks; a quantised latent is the concatenation of one entry of each.
        num_entries: V, of each codebook.
        code_dim: width of quantised latents, and of the space in which they are compared.
        temperature: divides the cosine similarities.
        diversity: weight of the penalty.
        gumbel_temperature: of the softmax that draws entries, at first.
        final_gumbel_temperature: at the end of the stage.
    """

    alone = True

    def __init__(
        self,
        dim: int,
        mask: Callable[[], TokenMask],
        latents: Callable[[], "Latents"],
        num_groups: Width = 2,
        num_entries: Width = 64,
        code_dim: Width = 64,
        temperature: PositiveFloat = 0.1,
        diversity: NonNegativeFloat = 0.1,
        gumbel_temperature: PositiveFloat = 2.0,
        final_gumbel_temperature: PositiveFloat = 0.5,
    ) -> None:
        super().__init__()
        self.mask, self.latents = mask(), latents()
        self.temperature, self.diversity = temperature, diversity
        self.gumbel_temperatures = (gumbel_temperature, final_gumbel_temperature)
        self.quantize = ProductQuantizer(self.latents.dim, num_groups, num_entries, code_dim)
        self.project = nn.Linear(dim, code_dim)

    def check(self, encoder: nn.Module, key_path: str) -> None:
        """Reject an encoder whose tokens are not steps in time.

        Raises:
            ConfigError: they are not.
        """
        check_tokens(self.mask, encoder, key_path, "wav2vec2")

    def corrupt(self, x: Input, present: Tensor) -> tuple[Input, dict[str, Tensor]]:
        """Return the masked input, and the target: latents [B, L, frames], hidden spans, and present rows [B].

        Args:
            x: of B rows.
            present: [B] bool; other rows do not count in the penalty.
        """
        masked, hidden = self.mask.hide(x)
        return masked, {"latents": self.latents(x), "hidden": hidden, "present": present}

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the mean contrastive loss over a row's hidden tokens, plus the penalty of the micro-batch, [B].

        Args:
            features: tokens [B, T, D].
            target: that `corrupt` returned.
        """
        tokens, real = features.tokens, features.mask
        hidden = self.mask.align(target["hidden"], features)  # [B, T]
        assert tokens is not None  # by check, as the next two
        assert real is not None
        assert hidden is not None
        latents = F.adaptive_avg_pool1d(target["latents"], tokens.shape[1]).transpose(1, 2)  # [B, T, L]
        first, last = self.gumbel_temperatures
        quantized, codes, probabilities = self.quantize(latents, self.warm_up(first, last, share=1.0))
        context = self.project(tokens).float()
        with torch.autocast(context.device.type, enabled=False):
            losses = contrast_steps(context, quantized, codes, hidden, self.temperature)
            losses = (losses * hidden).sum(1) / hidden.sum(1).clamp(min=1)
            counted = real & target["present"].unsqueeze(1)
            return losses + self.diversity * compute_redundancy(probabilities, counted)


class Latents(nn.Module):
    """Base class of what computes local latents of an input: `forward(x)` returns [B, dim, frames].

    Attributes:
        dim: width of the latents.
    """

    dim: int


class SoundLatents(Latents):
    """A convolution over three frames of the log-mel spectrogram.

    Args:
        sample_rate: in Hz.
        width: of the latents.
        n_mels: mel bands.
        n_fft: samples of a window.
        hop_length: samples from one frame to the next.
    """

    def __init__(
        self, sample_rate: int, width: Width = 64, n_mels: Width = 64, n_fft: Width = 256, hop_length: Width = 128
    ) -> None:
        super().__init__()
        self.dim = width
        self.logmel = LogMel(sample_rate, n_mels, n_fft, hop_length)
        self.convolution = _build_convolution(n_mels, width)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        """Return the latents of each frame, [B, width, frames].

        Args:
            x: sound.
        """
        latents: Tensor = self.convolution(self.logmel(x["waveform"]))
        return latents


class SeriesLatents(Latents):
    """A convolution over three steps of the values.

    Args:
        in_channels: C, of the series.
        width: of the latents.
    """

    def __init__(self, in_channels: int, width: Width = 64) -> None:
        super().__init__()
        self.dim = width
        self.convolution = _build_convolution(in_channels, width)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        """Return the latents of each step, [B, width, T].

        Args:
            x: series.
        """
        latents: Tensor = self.convolution(x["values"])
        return latents


def _build_convolution(in_channels: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Conv1d(in_channels, width, 3, padding=1), nn.GELU(), nn.Conv1d(width, width, 1))


class ProductQuantizer(nn.Module):
    """Replaces vectors by entries of G codebooks, drawn by a Gumbel softmax (Jegou et al., 2011; Jang et al., 2017).

    Args:
        in_dim: L, width of the vectors.
        num_groups: G.
        num_entries: V, of each codebook.
        dim: width of the quantised vectors.
    """

    def __init__(self, in_dim: int, num_groups: int, num_entries: int, dim: int) -> None:
        super().__init__()
        self.shape = (num_groups, num_entries)
        self.norm = nn.LayerNorm(in_dim)
        self.select = nn.Linear(in_dim, num_groups * num_entries)
        nn.init.normal_(self.select.weight)
        nn.init.zeros_(self.select.bias)
        self.entries = nn.Parameter(torch.rand(num_groups, num_entries, -(-dim // num_groups)))
        self.project = nn.Linear(num_groups * self.entries.shape[2], dim)

    def forward(self, x: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise.

        Args:
            x: [B, T, L].
            temperature: of the Gumbel softmax in training; in evaluation the likeliest entries are taken.

        Returns:
            In fp32: vectors [B, T, dim]; the numbers of their entries [B, T, G]; probabilities [B, T, G, V].
        """
        logits = self.select(self.norm(x)).float().unflatten(-1, self.shape)  # [B, T, G, V]
        with torch.autocast(x.device.type, enabled=False):
            if self.training:
                drawn = F.gumbel_softmax(logits, temperature, hard=True)  # type: ignore[arg-type]  # a tensor will do
            else:
                drawn = F.one_hot(logits.argmax(-1), self.shape[1]).float()
            vectors = torch.einsum("btgv,gvd->btgd", drawn, self.entries).flatten(2)
            return self.project(vectors), drawn.argmax(-1), logits.softmax(-1)


def contrast_steps(context: Tensor, quantized: Tensor, codes: Tensor, hidden: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy with which each step identifies its latent among those of a row's hidden steps, [B, T].

    Args:
        context: tokens in the space of the latents [B, T, D].
        quantized: latents [B, T, D].
        codes: numbers of their entries [B, T, G]; latents with the same ones are no negatives of each other.
        hidden: [B, T] bool.
        temperature: divides the cosine similarities.
    """
    steps = torch.arange(context.shape[1], device=context.device)
    is_equal = (codes.unsqueeze(2) == codes.unsqueeze(1)).all(-1)  # [B, T, T]
    is_negative = hidden.unsqueeze(1) & ~is_equal
    similarity = F.normalize(context, dim=-1) @ F.normalize(quantized, dim=-1).transpose(1, 2) / temperature
    is_compared = is_negative | (steps == steps.unsqueeze(1))
    logits = similarity.masked_fill(~is_compared, torch.finfo(similarity.dtype).min)
    return -logits.log_softmax(-1).diagonal(dim1=1, dim2=2)


def compute_redundancy(probabilities: Tensor, counted: Tensor) -> Tensor:
    """Return how few entries of the codebooks are in use: 0 if all are, equally; (V - 1) / V if one is.

    That is (G V - sum of the perplexities) / (G V), of the entries' mean probabilities.

    Args:
        probabilities: [B, T, G, V].
        counted: [B, T] bool, vectors that count.
    """
    total = (probabilities * counted[..., None, None]).sum((0, 1))  # [G, V]
    mean = total / counted.sum().clamp(min=1)
    perplexity = (-(mean * (mean + 1e-7).log()).sum(-1)).exp()  # [G]
    return 1 - perplexity.sum() / mean.numel()
