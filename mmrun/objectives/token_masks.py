"""What methods hide from an encoder: words, patches, frames, spans of time or cells, and which tokens these are."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mmrun.errors import ConfigError
from mmrun.objectives.masked_lm import find_words
from mmrun.objectives.masked_patches import PREFIXES
from mmrun.objectives.pretext import draw_hidden_spans
from mmrun.types import Features, Input
from mmrun.values import PositiveShare, Width


class TokenMask(nn.Module):
    """Base class of masks of one kind of input. Arguments that a preprocessor offers describe the input.

    Attributes:
        needs: what tokens an encoder must have, for messages: "one token per word".
        example_encoder: one that has them, for messages.
    """

    needs: str
    example_encoder: str

    def hide(self, x: Input) -> tuple[Input, Tensor]:
        """Hide parts of each row at random.

        Args:
            x: of B rows; it is not changed.

        Returns:
            The masked input, and which of N parts are hidden, [B, N] bool.
        """
        raise NotImplementedError

    def align(self, hidden: Tensor, features: Features) -> Tensor | None:
        """Return which tokens are hidden, [B, T] bool; None if tokens do not correspond to parts of the input.

        Args:
            hidden: that `hide` returned.
            features: of an encoder, with tokens [B, T, D].
        """
        raise NotImplementedError

    def example(self) -> Input:
        """Return an input of two rows, to try an encoder on."""
        raise NotImplementedError


class MaskedWords(TokenMask):
    """Words become the mask token; special tokens stay.

    Args:
        max_tokens: T.
        mask_id: of the mask token.
        special_ids: of tokens that are no words.
        ratio: share of a row's words that is hidden, at least one.
    """

    needs, example_encoder = "one token per word", "transformer"
    special_ids: Tensor

    def __init__(
        self, max_tokens: int, mask_id: int, special_ids: Sequence[int] = (), ratio: PositiveShare = 0.3
    ) -> None:
        super().__init__()
        self.max_tokens, self.mask_id, self.ratio = max_tokens, mask_id, ratio
        self.register_buffer("special_ids", torch.tensor(list(special_ids), dtype=torch.int64), persistent=False)

    def hide(self, x: Input) -> tuple[Input, Tensor]:
        """Hide the same share of each row's words; see `TokenMask.hide`."""
        assert isinstance(x, dict)
        hidden = _draw_share(find_words(x, self.special_ids), self.ratio)  # [B, T]
        return {**x, "ids": x["ids"].masked_fill(hidden, self.mask_id)}, hidden

    def align(self, hidden: Tensor, features: Features) -> Tensor | None:
        """Return the hidden words, if there is one token for each; see `TokenMask.align`."""
        return hidden if features.tokens is not None and features.tokens.shape[1] == hidden.shape[1] else None

    def example(self) -> Input:
        """Return two texts of mask tokens."""
        ids = torch.full((2, self.max_tokens), self.mask_id)
        return {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}


class MaskedPatches(TokenMask):
    """Patches of an image are filled with its mean colour.

    Args:
        in_channels: C.
        image_size: side of the images, in pixels.
        ratio: share of the patches that is hidden.
        grid: patches along a side.
    """

    needs, example_encoder = "tokens that form a square grid", "cnn"

    def __init__(self, in_channels: int, image_size: int, ratio: PositiveShare = 0.6, grid: Width = 8) -> None:
        super().__init__()
        self.shape = (in_channels, image_size, image_size)
        self.ratio, self.grid = ratio, min(grid, image_size)

    def hide(self, x: Input) -> tuple[Input, Tensor]:
        """Hide the same number of patches in each image; see `TokenMask.hide`."""
        assert isinstance(x, Tensor)
        patches = torch.ones(len(x), self.grid**2, dtype=torch.bool, device=x.device)
        hidden = _draw_share(patches, self.ratio)
        cover = F.interpolate(hidden.view(-1, 1, self.grid, self.grid).float(), x.shape[2:]) > 0.5
        return torch.where(cover, x.mean((2, 3), keepdim=True), x), hidden

    def align(self, hidden: Tensor, features: Features) -> Tensor | None:
        """Return the tokens at least half of whose area is hidden; a class token is not. See `TokenMask.align`."""
        if features.tokens is None:
            return None
        num_tokens = features.tokens.shape[1]
        side = math.isqrt(num_tokens)
        if num_tokens - side**2 not in PREFIXES:
            return None
        share = F.interpolate(hidden.view(-1, 1, self.grid, self.grid).float(), (side, side), mode="area").flatten(1)
        return F.pad(share >= 0.5, (num_tokens - side**2, 0))

    def example(self) -> Input:
        """Return two black images."""
        return torch.zeros(2, *self.shape)


class HiddenFrames(TokenMask):
    """Frames of a video are filled with their mean colour.

    Args:
        in_channels: C.
        image_size: side of the frames, in pixels.
        num_frames: T.
        ratio: share of the frames that is hidden, at least one.
    """

    needs, example_encoder = "one token per frame", "frames"

    def __init__(self, in_channels: int, image_size: int, num_frames: int, ratio: PositiveShare = 0.5) -> None:
        super().__init__()
        self.shape, self.ratio = (num_frames, in_channels, image_size, image_size), ratio

    def hide(self, x: Input) -> tuple[Input, Tensor]:
        """Hide the same number of frames in each video; see `TokenMask.hide`."""
        assert isinstance(x, Tensor)
        hidden = _draw_share(torch.ones(x.shape[:2], dtype=torch.bool, device=x.device), self.ratio)  # [B, T]
        return torch.where(hidden[:, :, None, None, None], x.mean((3, 4), keepdim=True), x), hidden

    def align(self, hidden: Tensor, features: Features) -> Tensor | None:
        """Return the tokens of the hidden frames; see `TokenMask.align`."""
        is_per_frame = features.tokens is not None and features.tokens.shape[1] == hidden.shape[1]
        return hidden if is_per_frame else None

    def example(self) -> Input:
        """Return two black videos."""
        return torch.zeros(2, *self.shape)


class SilencedSpans(TokenMask):
    """Spans of a clip are silenced.

    Args:
        num_samples: S.
        ratio: probability that a span is hidden; one at least is.
        spans: number of equal spans that the padded clip is cut into.
    """

    needs, example_encoder = "tokens in the order of time", "logmel_cnn"

    def __init__(self, num_samples: int, ratio: PositiveShare = 0.5, spans: Width = 16) -> None:
        super().__init__()
        self.num_samples, self.ratio, self.spans = num_samples, ratio, spans

    def hide(self, x: Input) -> tuple[Input, Tensor]:
        """Silence spans of each clip; see `TokenMask.hide`."""
        assert isinstance(x, dict)
        waveform = x["waveform"]  # [B, S]
        begin = torch.arange(self.spans, device=waveform.device) * (waveform.shape[1] / self.spans)
        hidden = draw_hidden_spans(begin < x["length"].unsqueeze(1), self.ratio, self.spans)
        return {**x, "waveform": waveform.masked_fill(_stretch(hidden, waveform.shape[1]), 0)}, hidden

    def align(self, hidden: Tensor, features: Features) -> Tensor | None:
        """Return the real tokens in hidden spans; see `TokenMask.align`."""
        return _align_in_time(hidden, features)

    def example(self) -> Input:
        """Return two silent clips."""
        return {"waveform": torch.zeros(2, self.num_samples), "length": torch.full((2,), self.num_samples)}


class MaskedSteps(TokenMask):
    """Spans of a series are set to 0, the mean, in all channels.

    Args:
        in_channels: C.
        num_steps: of the longest series, at least T.
        ratio: probability that a span is hidden; one at least is.
        spans: number of equal spans that the longest series is cut into.
    """

    needs, example_encoder = "tokens in the order of time", "gru"

    def __init__(self, in_channels: int, num_steps: int, ratio: PositiveShare = 0.5, spans: Width = 16) -> None:
        super().__init__()
        self.shape = (in_channels, num_steps)
        self.ratio, self.spans = ratio, min(spans, num_steps)

    def hide(self, x: Input) -> tuple[Input, Tensor]:
        """Hide spans of each series; see `TokenMask.hide`."""
        assert isinstance(x, dict)
        mask, num_steps = x["mask"], self.shape[1]
        begin = torch.arange(self.spans, device=mask.device) * num_steps // self.spans
        padded = F.pad(mask, (0, num_steps - mask.shape[1]))  # a batch may be cropped
        spans = draw_hidden_spans(padded[:, begin], self.ratio, self.spans)
        hidden = _stretch(spans, num_steps)[:, : mask.shape[1]]  # [B, T]
        return {**x, "values": x["values"].masked_fill(hidden.unsqueeze(1), 0)}, hidden

    def align(self, hidden: Tensor, features: Features) -> Tensor | None:
        """Return the real tokens in hidden spans; see `TokenMask.align`."""
        return _align_in_time(hidden, features)

    def example(self) -> Input:
        """Return two series of zeros."""
        return {"values": torch.zeros(2, *self.shape), "mask": torch.ones(2, self.shape[1], dtype=torch.bool)}


class MaskedCells(TokenMask):
    """Cells of a table go missing.

    Args:
        num_numeric: F, number of numeric columns.
        cardinalities: number of categories of each of the K categorical columns, 0 included.
        ratio: share of a row's cells that is hidden, at least one; those that are missing anyway are not.
    """

    needs, example_encoder = "one token per cell", "ft_transformer"

    def __init__(self, num_numeric: int, cardinalities: Sequence[int], ratio: PositiveShare = 0.3) -> None:
        super().__init__()
        self.num_numeric, self.num_categorical, self.ratio = num_numeric, len(cardinalities), ratio

    def hide(self, x: Input) -> tuple[Input, Tensor]:
        """Hide cells of each row; see `TokenMask.hide`."""
        assert isinstance(x, dict)
        hidden = _draw_share(torch.cat([~x["missing"], x["categorical"] > 0], 1), self.ratio)  # [B, F + K]
        numbers, categories = hidden.split([self.num_numeric, self.num_categorical], 1)
        masked = {
            "numeric": x["numeric"].masked_fill(numbers, 0),
            "missing": x["missing"] | numbers,
            "categorical": x["categorical"].masked_fill(categories, 0),
        }
        return masked, hidden

    def align(self, hidden: Tensor, features: Features) -> Tensor | None:
        """Return the hidden cells, if there is one token for each; see `TokenMask.align`."""
        return hidden if features.tokens is not None and features.tokens.shape[1] == hidden.shape[1] else None

    def example(self) -> Input:
        """Return two rows of zeros."""
        numeric = torch.zeros(2, self.num_numeric)
        categorical = torch.zeros(2, self.num_categorical, dtype=torch.int64)
        return {"numeric": numeric, "missing": torch.zeros_like(numeric, dtype=torch.bool), "categorical": categorical}


def check_tokens(mask: TokenMask, encoder: nn.Module, key_path: str, method: str) -> None:
    """Reject an encoder whose tokens do not correspond to parts of its input; it is tried on an example.

    Args:
        mask: of the encoder's kind.
        encoder: its mode and the random state are left as they are.
        key_path: of the encoder in the config, for the message.
        method: that needs the tokens, for the message.

    Raises:
        ConfigError: there are no tokens, a single one, or others than the method needs.
    """
    device = next(encoder.parameters(), torch.zeros(())).device
    example = mask.example()
    with torch.random.fork_rng(devices=[]):
        _, hidden = mask.hide(example)
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        features = encoder(tree_map(lambda part: part.to(device), example))
    for module, mode in modes:
        module.training = mode
    if features.tokens is None:
        problem = "this encoder has none"
    elif mask.align(hidden.to(device), features) is None:
        problem = f"those of this encoder, {features.tokens.shape[1]} for each row, are others"
    elif features.tokens.shape[1] == 1:
        problem = "this encoder has a single one"
    else:
        return
    raise ConfigError(f"{key_path}: {method} needs {mask.needs}, and {problem}; try {key_path}={mask.example_encoder}")


def _draw_share(candidates: Tensor, ratio: float) -> Tensor:
    """Draw a share of each row's candidates [B, N] bool, at least one where there is any."""
    order = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, 2.0)
    rank = order.argsort(1).argsort(1)
    count = (ratio * candidates.sum(1, keepdim=True)).round().clamp(min=1)
    return (rank < count) & candidates


def _stretch(hidden: Tensor, size: int) -> Tensor:  # [B, N] -> [B, size]
    """Repeat each of N equal parts over its share of a longer axis."""
    positions = torch.arange(size, device=hidden.device)
    return hidden[:, (2 * positions + 1) * hidden.shape[1] // (2 * size)]


def _align_in_time(hidden: Tensor, features: Features) -> Tensor | None:
    """Return the real tokens in hidden spans; encoders with tokens of another order have no mask for them."""
    if features.tokens is None or features.mask is None:
        return None
    return _stretch(hidden, features.tokens.shape[1]) & features.mask
