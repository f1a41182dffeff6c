"""Several items of one kind in a row: they pass through an encoder as rows of their own."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from mmrun.types import ITEMS, Encoder, Features, Input


class ItemEncoder(Encoder):
    """Encodes each item of a row with one encoder: pictures, sounds, or the frames of a video.

    Items that only pad a row are not encoded, so that they do not enter the statistics of normalisation layers.

    Args:
        encoder: of a single item.
        pooling: pooled: the features of a row are the mean vector of its items, without tokens; tokens: it has the
            tokens of all its items too, or one for each item where the encoder has none.
    """

    def __init__(self, encoder: Encoder, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.kind, self.dim = encoder.kind, encoder.dim

    @property
    def ignores_padding(self) -> bool:
        """Whether the encoder of an item does, and no token of an item follows the padding of another."""
        return self.encoder.ignores_padding and self.pooling == "pooled"

    def fit(self, batches: Iterable[Input]) -> None:
        """Fit the encoder to the real items; see `Encoder.fit`."""
        self.encoder.fit(_select(fold(x), get_mask(x).flatten()) for x in batches)

    def forward(self, x: Input) -> Features:
        """Encode the items of each row.

        Args:
            x: parts [B, M, ...], and "items" [B, M].

        Returns:
            Pooled features [B, D], 0 for a row without items; with tokens [B, M * T, D] and their mask where
            `pooling` is "tokens".
        """
        mask = get_mask(x)  # [B, M]
        features = self._encode(fold(x), mask.flatten())
        vectors = features.pooled.unflatten(0, mask.shape)  # [B, M, D]
        weights = mask.unsqueeze(-1).to(vectors.dtype)
        pooled = (vectors * weights).sum(1) / weights.sum(1).clamp(min=1)
        if self.pooling == "pooled":
            return Features(pooled)
        if features.tokens is None:
            return Features(pooled, vectors * weights, mask)
        tokens = features.tokens.unflatten(0, mask.shape)  # [B, M, T, D]
        is_real = mask.unsqueeze(-1).expand(tokens.shape[:3])
        if features.mask is not None:
            is_real = is_real & features.mask.unflatten(0, mask.shape)
        tokens = tokens * is_real.unsqueeze(-1)
        return Features(pooled, tokens.flatten(1, 2), is_real.flatten(1))

    def _encode(self, items: Input, is_real: Tensor) -> Features:
        """Encode the real items [B * M, ...]; the features of the others are 0."""
        if torch.compiler.is_compiling() or not 0 < int(is_real.sum()) < len(is_real):
            encoded: Features = self.encoder(items)
            return encoded
        selected: Features = self.encoder(_select(items, is_real))
        tokens = None if selected.tokens is None else _scatter(selected.tokens, is_real)
        mask = None if selected.mask is None else _scatter(selected.mask, is_real)
        return Features(_scatter(selected.pooled, is_real), tokens, mask)


def map_items(function: Callable[[Input], Input], x: Input) -> Input:
    """Apply a function of single items to an input, be it one item a row or several.

    Args:
        function: its result has the shapes of its argument.
        x: input of one modality.
    """
    if not (isinstance(x, dict) and ITEMS in x):
        return function(x)
    mask = x[ITEMS]
    changed = function(fold(x))
    parts = changed if isinstance(changed, dict) else {"": changed}
    return {**{name: part.unflatten(0, mask.shape) for name, part in parts.items()}, ITEMS: mask}


def get_mask(x: Input) -> Tensor:
    """Return which items are real, [B, M] bool.

    Args:
        x: input with several items in a row.
    """
    assert isinstance(x, dict), "an input with several items has parts"
    return x[ITEMS]


def fold(x: Input) -> Input:
    """Return the items of all rows as rows of their own: [B, M, ...] becomes [B * M, ...].

    Args:
        x: input with several items in a row.
    """
    assert isinstance(x, dict), "an input with several items has parts"
    parts = {name: part.flatten(0, 1) for name, part in x.items() if name != ITEMS}
    return parts[""] if list(parts) == [""] else parts


def _select(x: Input, rows: Tensor) -> Input:
    return {name: part[rows] for name, part in x.items()} if isinstance(x, dict) else x[rows]


def _scatter(part: Tensor, is_real: Tensor) -> Tensor:
    """Return rows [n, ...] at the places of the real items, [B * M, ...]; zeros elsewhere."""
    places = is_real.nonzero().squeeze(1)
    return part.new_zeros((len(is_real), *part.shape[1:])).index_put((places,), part)
