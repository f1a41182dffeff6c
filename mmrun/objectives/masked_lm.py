"""Text: name the words that were hidden."""

import torch
from torch import Tensor, nn

from mmrun.objectives.pretext import Pretext, checked_share
from mmrun.types import Features


class MaskedLM(Pretext):
    """Masked language modelling (Devlin et al., 2019): 80 % of the chosen become the mask, 10 % any word, 10 % stay.

    An encoder without tokens names all chosen words from the pooled vector at once. Every row gives the same number of
    slots, so shapes are static and only the chosen positions go through the vocabulary's wide layer.
    """

    def __init__(self, dim: int, vocab_size: int, mask_id: int, ratio: float = 0.15) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.mask_id = mask_id
        self.ratio = checked_share(ratio, "text")
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim), nn.Linear(dim, vocab_size))

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Choose `ratio` of each row's real tokens, at least one, and spoil them."""
        ids, real = x["ids"], x["mask"]  # [B, T]
        slots = max(1, round(self.ratio * ids.shape[1]))  # K
        order = torch.rand(ids.shape, device=ids.device).masked_fill(~real, -1)
        positions = order.topk(slots).indices  # [B, K]
        count = (self.ratio * real.sum(1, keepdim=True)).round().clamp(min=1)
        chosen = (torch.arange(slots, device=ids.device) < count) & real.gather(1, positions)
        words = ids.gather(1, positions)
        fate = torch.rand(words.shape, device=ids.device)
        spoiled = torch.where(fate < 0.9, torch.randint_like(words, self.vocab_size), words)
        spoiled = torch.where(fate < 0.8, self.mask_id, spoiled)
        spoiled = torch.where(chosen, spoiled, words)
        wanted = {"positions": positions, "words": words, "chosen": chosen}
        return {**x, "ids": ids.scatter(1, positions, spoiled)}, wanted

    def loss(self, features: Features, wanted: dict[str, Tensor]) -> Tensor:  # [B]
        """Mean cross-entropy over a row's chosen tokens."""
        positions, words, chosen = wanted["positions"], wanted["words"], wanted["chosen"]  # [B, K]
        if features.tokens is None:
            states = features.pooled.unsqueeze(1)  # [B, 1, D]
        else:
            states = features.tokens.gather(1, positions.unsqueeze(-1).expand(-1, -1, features.tokens.shape[-1]))
        logits = self.head(states).float()  # [B, K or 1, V]
        scores = logits.expand(-1, words.shape[1], -1).gather(-1, words.unsqueeze(-1)).squeeze(-1)  # [B, K]
        return ((logits.logsumexp(-1) - scores) * chosen).sum(1) / chosen.sum(1).clamp(min=1)
