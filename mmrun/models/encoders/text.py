"""Text encoders for training from scratch. Where there are tokens, there is one per id: T is unchanged."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmrun.models.encoders.sequence import Blocks, Cell, Recurrent, masked_mean, unmask_empty_rows
from mmrun.models.encoders.word_embedding import build_embedding, fill_linear
from mmrun.types import Encoder, Features, Input, WordVectors
from mmrun.values import Depth, MlpRatio, ShareBelow1, Width, Widths


class Rnn(Encoder):
    """GRU (Cho et al., 2014) or LSTM (Hochreiter & Schmidhuber, 1997) over embeddings; the last state is pooled.

    Args:
        vocab_size: V.
        pad_id: the id whose embedding stays zero.
        cell: gru or lstm.
        dim: D; half of it for each direction if bidirectional.
        embedding_dim: E.
        num_layers: of each direction.
        bidirectional: False reads forward only.
        dropout: of the embeddings and between layers.
        word_vectors: that the embedding starts from.

    Raises:
        ConfigError: see `sequence.Recurrent`.
    """

    kind = "text"

    def __init__(
        self,
        vocab_size: int,
        pad_id: int,
        cell: Cell,
        dim: Width = 128,
        embedding_dim: Width = 128,
        num_layers: Depth = 1,
        bidirectional: bool = True,
        dropout: ShareBelow1 = 0.1,
        word_vectors: WordVectors | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.embedding = build_embedding(vocab_size, embedding_dim, pad_id, word_vectors)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = Recurrent(cell, embedding_dim, dim, num_layers, bidirectional, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: ids [B, T] and mask [B, T].

        Returns:
            Pooled [B, D] and tokens [B, T, D].
        """
        embedded = self.dropout(self.embedding(x["ids"]))  # [B, T, E]
        features: Features = self.recurrent(embedded, unmask_empty_rows(x["mask"]))
        return features


class TextCnn(Encoder):
    """Convolutions of several widths over embeddings, max-pooled over the text (Kim, 2014).

    D = channels * number of kernels.

    Args:
        vocab_size: V.
        pad_id: the id whose embedding stays zero.
        embedding_dim: E.
        channels: of each convolution.
        kernels: width of each convolution, in tokens.
        dropout: of the pooled vector.
        word_vectors: that the embedding starts from.
    """

    kind = "text"

    def __init__(
        self,
        vocab_size: int,
        pad_id: int,
        embedding_dim: Width = 128,
        channels: Width = 64,
        kernels: Widths = (3, 4, 5),
        dropout: ShareBelow1 = 0.5,
        word_vectors: WordVectors | None = None,
    ) -> None:
        super().__init__()
        self.dim = channels * len(kernels)
        self.embedding = build_embedding(vocab_size, embedding_dim, pad_id, word_vectors)
        self.kernels = kernels
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding_dim, channels, kernel) for kernel in kernels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: ids [B, T] and mask [B, T].

        Returns:
            Pooled [B, D], the maximum over the real tokens, and tokens [B, T, D].
        """
        mask = unmask_empty_rows(x["mask"])
        embedded = (self.embedding(x["ids"]) * mask.unsqueeze(-1)).transpose(1, 2)  # [B, E, T]
        activations = []
        for convolution, kernel in zip(self.convolutions, self.kernels, strict=True):
            padded = F.pad(embedded, ((kernel - 1) // 2, kernel // 2))  # so that T is unchanged
            activations.append(F.relu(convolution(padded)))
        tokens = torch.cat(activations, dim=1).transpose(1, 2)  # [B, T, D]
        strongest = (tokens * mask.unsqueeze(-1)).amax(dim=1)  # padding is 0, and no activation is below that
        return Features(self.dropout(strongest), tokens, mask)


class Bow(Encoder):
    """TF-IDF bag of words (Spärck Jones, 1972) and one linear layer. It has no tokens and ignores word order.

    The fewer training rows contain a word, the more it counts; before `fit`, all words count the same. Special tokens
    such as [CLS] and unknown words do not count. With word vectors, the linear layer reads their weighted sum.

    Args:
        vocab_size: V.
        special_ids: ids that do not count.
        dim: D.
        word_vectors: that the first layer starts from.
    """

    kind = "text"
    idf: Tensor

    def __init__(
        self,
        vocab_size: int,
        special_ids: Sequence[int],
        dim: Width = 128,
        word_vectors: WordVectors | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        idf = torch.ones(vocab_size)
        idf[list(special_ids)] = 0.0
        self.register_buffer("idf", idf)  # [V], inverse document frequency
        first = nn.Linear(vocab_size, dim if word_vectors is None else word_vectors.dim)
        nn.init.normal_(first.weight, std=0.01)  # of a rare word it remains, so it is noise: at 1 it hid the rest
        self.linear: nn.Module = first
        if word_vectors is not None:
            fill_linear(first, word_vectors)
            self.linear = nn.Sequential(first, nn.Linear(word_vectors.dim, dim))

    def fit(self, batches: Iterable[Input]) -> None:
        """Compute the inverse document frequencies, smoothed as in scikit-learn: ln((1 + rows) / (1 + df)) + 1.

        Args:
            batches: ids [B, T] and mask [B, T] of the training rows that have the modality.
        """
        num_rows, document_frequency = 0, torch.zeros_like(self.idf)
        for x in batches:
            counts = self.count_words(cast(dict[str, Tensor], x))
            num_rows += len(counts)
            document_frequency = document_frequency + (counts > 0).sum(dim=0)
        smoothed = ((1 + num_rows) / (1 + document_frequency)).log() + 1
        self.idf.copy_(torch.where(self.idf > 0, smoothed, 0.0))

    def count_words(self, x: dict[str, Tensor]) -> Tensor:
        """Count how often each id occurs in each row.

        Args:
            x: ids [B, T] and mask [B, T].

        Returns:
            [B, V] float.
        """
        zeros = torch.zeros(x["ids"].shape[0], len(self.idf), device=self.idf.device)
        return zeros.scatter_add(1, x["ids"], x["mask"].float())

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: ids [B, T] and mask [B, T].

        Returns:
            Pooled [B, D], no tokens.
        """
        return Features(self.linear(F.normalize(self.count_words(x) * self.idf, dim=1)))


class Transformer(Encoder):
    """Pre-norm transformer (Vaswani et al., 2017) with learned positions; the mean of the real tokens is pooled.

    Args:
        vocab_size: V.
        max_tokens: the longest text, in tokens.
        pad_id: the id of padding, whose embedding gets no gradient.
        dim: D.
        num_layers: transformer blocks.
        num_heads: must divide `dim`.
        mlp_ratio: width of the MLP's hidden layer, as a multiple of `dim`.
        dropout: of the embeddings and in the blocks.
        word_vectors: that the embedding starts from.

    Raises:
        ConfigError: `num_heads` does not divide `dim`.
    """

    kind = "text"

    def __init__(
        self,
        vocab_size: int,
        max_tokens: int,
        pad_id: int,
        dim: Width = 128,
        num_layers: Depth = 2,
        num_heads: Width = 4,
        mlp_ratio: MlpRatio = 4.0,
        dropout: ShareBelow1 = 0.1,
        word_vectors: WordVectors | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.embedding = build_embedding(vocab_size, dim, pad_id, word_vectors)
        self.position = nn.Parameter(torch.empty(max_tokens, dim))
        if word_vectors is None:
            nn.init.normal_(cast(Tensor, self.embedding.weight), std=0.02)
        nn.init.normal_(self.position, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = Blocks(dim, num_layers, num_heads, mlp_ratio, dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: ids [B, T] and mask [B, T], T at most `max_tokens`.

        Returns:
            Pooled [B, D] and tokens [B, T, D].
        """
        mask = unmask_empty_rows(x["mask"])
        tokens = self.blocks(self._embed(x), mask)  # [B, T, D]
        return Features(masked_mean(tokens, mask), tokens, mask)

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return the tokens after each block; see `Encoder.encode_layers`."""
        x = cast(dict[str, Tensor], x)
        return self.blocks.forward_layers(self._embed(x), unmask_empty_rows(x["mask"]))

    def _embed(self, x: dict[str, Tensor]) -> Tensor:  # [B, T, D]
        embedded: Tensor = self.dropout(self.embedding(x["ids"]) + self.position[: x["ids"].shape[1]])
        return embedded
