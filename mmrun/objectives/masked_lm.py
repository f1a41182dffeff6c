"""Text: predict masked words."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmrun.objectives.pretext import Pretext, check_share
from mmrun.types import Features
from mmrun.values import PositiveShare


class MaskedLM(Pretext):
    """Masked language modelling (BERT: Devlin et al., 2019).

    Special tokens are never chosen. Of the chosen tokens 80 % become the mask token, 10 % a random one, 10 % stay. An
    encoder without tokens predicts all chosen words from the pooled vector. Every row has the same number K of slots,
    so that shapes are static and only the chosen positions go through the vocabulary's wide layer.

    Args:
        dim: width of the encoder's features.
        vocab_size: V, number of token ids.
        mask_id: of the mask token.
        special_ids: of tokens that are no words, such as [CLS] and [SEP].
        ratio: share of a row's words that is chosen, at least one.

    Raises:
        ConfigError: `ratio` is out of range.
    """

    special_ids: Tensor

    def __init__(
        self,
        dim: int,
        vocab_size: int,
        mask_id: int,
        special_ids: Sequence[int] = (),
        ratio: PositiveShare = 0.15,
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.mask_id = mask_id
        self.ratio = check_share(ratio, "text")
        self.register_buffer("special_ids", torch.tensor(list(special_ids), dtype=torch.int64), persistent=False)
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), nn.Linear(dim, vocab_size))

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the text with corrupted tokens, and which were chosen.

        Args:
            x: text, ids and mask [B, T].
            present: is not used.

        Returns:
            The text, and [B, K]: positions, words that stood there, and chosen (False for unused slots).
        """
        ids = x["ids"]  # [B, T]
        is_word = find_words(x, self.special_ids)
        slots = max(1, round(self.ratio * ids.shape[1]))  # K
        order = torch.rand(ids.shape, device=ids.device).masked_fill(~is_word, -1)
        positions = order.topk(slots).indices  # [B, K]
        count = (self.ratio * is_word.sum(1, keepdim=True)).round().clamp(min=1)
        chosen = (torch.arange(slots, device=ids.device) < count) & is_word.gather(1, positions)
        words = ids.gather(1, positions)
        drawn = torch.rand(words.shape, device=ids.device)
        corrupted = torch.where(drawn < 0.9, torch.randint_like(words, self.vocab_size), words)
        corrupted = torch.where(drawn < 0.8, self.mask_id, corrupted)
        corrupted = torch.where(chosen, corrupted, words)
        target = {"positions": positions, "words": words, "chosen": chosen}
        return {**x, "ids": ids.scatter(1, positions, corrupted)}, target

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy over a row's chosen tokens, [B].

        Args:
            features: tokens [B, T, D], or pooled [B, D].
            target: that `corrupt` returned.
        """
        positions, words, chosen = target["positions"], target["words"], target["chosen"]  # [B, K]
        if features.tokens is None:
            states = features.pooled.unsqueeze(1)  # [B, 1, D]
        else:
            states = features.tokens.gather(1, positions.unsqueeze(-1).expand(-1, -1, features.tokens.shape[-1]))
        logits: Tensor = self.head(states).float()  # [B, K or 1, V]
        word_logits = logits.expand(-1, words.shape[1], -1).gather(-1, words.unsqueeze(-1)).squeeze(-1)  # [B, K]
        return ((logits.logsumexp(-1) - word_logits) * chosen).sum(1) / chosen.sum(1).clamp(min=1)


def find_words(x: dict[str, Tensor], special_ids: Tensor) -> Tensor:
    """Return which tokens are words, neither padding nor special, [B, T] bool.

    Args:
        x: text, ids and mask [B, T].
        special_ids: of tokens that are no words.
    """
    return x["mask"] & (x["ids"].unsqueeze(-1) != special_ids).all(-1)  # torch.isin may wait for the device
