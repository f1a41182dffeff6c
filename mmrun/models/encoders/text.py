"""Text encoders that learn from scratch. Tokens stand where the ids stood: T is the same."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmrun.models.encoders.sequence import Blocks, Recurrent, masked_mean, readable
from mmrun.types import Encoder, Features


class Rnn(Encoder):
    """Embeddings read by a GRU or LSTM; pooled: the last state."""

    kind = "text"

    def __init__(
        self,
        vocab_size: int,
        pad_id: int,
        cell: str,
        dim: int = 128,
        embedding_dim: int = 128,
        num_layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=pad_id)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = Recurrent(cell, embedding_dim, dim, num_layers, bidirectional, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        embedded = self.dropout(self.embedding(x["ids"]))  # [B, T, E]
        return self.recurrent(embedded, readable(x["mask"]))


class TextCnn(Encoder):
    """Convolutions of several widths over the words, the strongest answer of each kept (Kim 2014)."""

    kind = "text"

    def __init__(
        self,
        vocab_size: int,
        pad_id: int,
        embedding_dim: int = 128,
        channels: int = 64,
        kernels: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.dim = channels * len(kernels)
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=pad_id)
        self.kernels = kernels
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding_dim, channels, kernel) for kernel in kernels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        mask = readable(x["mask"])
        embedded = (self.embedding(x["ids"]) * mask.unsqueeze(-1)).transpose(1, 2)  # [B, E, T]
        answers = []
        for convolution, kernel in zip(self.convolutions, self.kernels, strict=True):
            around = F.pad(embedded, ((kernel - 1) // 2, kernel // 2))  # as many answers as words
            answers.append(F.relu(convolution(around)))
        tokens = torch.cat(answers, dim=1).transpose(1, 2)  # [B, T, D]
        strongest = (tokens * mask.unsqueeze(-1)).amax(dim=1)  # no answer is below zero
        return Features(self.dropout(strongest), tokens, mask)


class Bow(Encoder):
    """A weighted bag of words (Spärck Jones 1972), read by one linear layer; the order of words is lost. No tokens.

    A word counts the more the fewer training rows have it; before `fit` all count alike. Marks such as [CLS] and
    unknown words do not count.
    """

    kind = "text"
    idf: Tensor

    def __init__(self, vocab_size: int, special_ids: Sequence[int], dim: int = 128) -> None:
        super().__init__()
        self.dim = dim
        words = torch.ones(vocab_size)
        words[list(special_ids)] = 0.0
        self.register_buffer("idf", words)  # [V], inverse document frequency
        self.linear = nn.Linear(vocab_size, dim)
        nn.init.normal_(self.linear.weight)  # a row's weights have length 1, and so its features variance 1

    def fit(self, batches: Iterable[Any]) -> None:
        """Learn how rare each word is, smoothed as in scikit-learn: ln((1 + rows) / (1 + rows with it)) + 1."""
        num_rows, num_with = 0, torch.zeros_like(self.idf)
        for x in batches:
            counts = self.counts(x)
            num_rows, num_with = num_rows + len(counts), num_with + (counts > 0).sum(dim=0)
        self.idf.copy_(torch.where(self.idf > 0, ((1 + num_rows) / (1 + num_with)).log() + 1, 0.0))

    def counts(self, x: dict[str, Tensor]) -> Tensor:  # [B, V]
        """Return how often each id occurs in each row."""
        none = torch.zeros(x["ids"].shape[0], len(self.idf), device=self.idf.device)
        return none.scatter_add(1, x["ids"], x["mask"].float())

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        return Features(self.linear(F.normalize(self.counts(x) * self.idf, dim=1)))


class Transformer(Encoder):
    """Transformer blocks over embeddings with learned positions; pooled: the mean of the real tokens."""

    kind = "text"

    def __init__(
        self,
        vocab_size: int,
        max_tokens: int,
        pad_id: int,
        dim: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=pad_id)
        self.position = nn.Parameter(torch.empty(max_tokens, dim))
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.position, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = Blocks(dim, num_layers, num_heads, mlp_ratio, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode."""
        mask = readable(x["mask"])
        embedded = self.embedding(x["ids"]) + self.position[: mask.shape[1]]
        tokens = self.blocks(self.dropout(embedded), mask)  # [B, T, D]
        return Features(masked_mean(tokens, mask), tokens, mask)
