"""The embedding of words and subwords, random or from pretrained vectors."""

import torch
from torch import nn

from mmrun.types import WordVectors


def build_embedding(vocab_size: int, dim: int, pad_id: int, vectors: WordVectors | None) -> nn.Module:
    """Build an embedding: ids [B, T] -> [B, T, dim].

    Words without a vector start from normal noise of the deviation that the vectors have.

    Args:
        vocab_size: V.
        dim: E of the encoder.
        pad_id: whose embedding is zero, and gets no gradient.
        vectors: pretrained ones; a linear layer follows where their E is not `dim`.
    """
    if vectors is None:
        return nn.Embedding(vocab_size, dim, padding_idx=pad_id)
    embedding = nn.Embedding(vocab_size, vectors.dim, padding_idx=pad_id)
    _fill_embedding(embedding, vectors)
    if vectors.dim == dim:
        return embedding
    return nn.Sequential(embedding, nn.Linear(vectors.dim, dim, bias=False))


def fill_linear(linear: nn.Linear, vectors: WordVectors) -> None:
    """Let a linear layer over counts of words add the vectors of these words.

    Args:
        linear: V -> E; words without a vector keep their weights.
        vectors: pretrained ones.
    """
    if vectors.matrix is not None:
        matrix = torch.from_numpy(vectors.matrix).T
        with torch.no_grad():
            linear.weight.copy_(torch.where(matrix.isnan(), linear.weight, matrix))
            nn.init.zeros_(linear.bias)


def _fill_embedding(embedding: nn.Embedding, vectors: WordVectors) -> None:
    if vectors.matrix is not None:
        matrix = torch.from_numpy(vectors.matrix)
        has_vector = ~matrix[:, :1].isnan()
        with torch.no_grad():
            noise = embedding.weight * matrix[has_vector.squeeze(1)].std()  # its own deviation is 1
            embedding.weight.copy_(torch.where(has_vector, matrix, noise))
            embedding.weight[embedding.padding_idx] = 0.0
