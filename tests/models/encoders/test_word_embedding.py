"""Embeddings that start from pretrained vectors."""

import numpy as np
import pytest
import torch

from mmrun.models.encoders.text import Bow, Rnn, TextCnn, Transformer
from mmrun.models.encoders.word_embedding import build_embedding
from mmrun.types import WordVectors

NAN = float("nan")
MATRIX = np.array([[NAN, NAN], [NAN, NAN], [1, 2], [-30, 40]], dtype=np.float32)
VECTORS = WordVectors(2, MATRIX)
X = {"ids": torch.tensor([[2, 3, 0]]), "mask": torch.tensor([[True, True, False]])}
ENCODERS = {
    "gru": lambda vectors: Rnn(4, 0, "gru", 8, 6, dropout=0.0, word_vectors=vectors),
    "textcnn": lambda vectors: TextCnn(4, 0, 6, 4, dropout=0.0, word_vectors=vectors),
    "transformer": lambda vectors: Transformer(4, 3, 0, 8, 1, 2, dropout=0.0, word_vectors=vectors),
    "bow": lambda vectors: Bow(4, [0], 6, word_vectors=vectors),
}


def test_words_start_from_their_vectors_and_padding_is_zero():
    torch.manual_seed(0)
    embedding = build_embedding(4, 2, 0, VECTORS)
    assert embedding(torch.tensor([2, 3, 0])).tolist() == [[1, 2], [-30, 40], [0, 0]]
    assert embedding(torch.tensor(1)).abs().min() > 1  # noise as wide as the vectors


def test_a_linear_layer_follows_where_the_widths_differ():
    embedding = build_embedding(4, 6, 0, VECTORS)
    assert embedding(X["ids"]).shape == (1, 3, 6)
    assert torch.equal(embedding(torch.tensor([2])), embedding[1](torch.tensor([[1.0, 2.0]])))


def test_a_bag_of_words_adds_the_vectors():
    encoder = Bow(4, [0], 6, word_vectors=VECTORS)
    direction = torch.tensor([1.0, 1.0]) / 2**0.5
    assert torch.allclose(encoder.linear[0](torch.tensor([0, 0, *direction])), torch.tensor([-29.0, 42.0]) / 2**0.5)


@pytest.mark.parametrize("build", ENCODERS.values(), ids=ENCODERS)
def test_an_opened_run_has_the_shapes_of_the_trained_one(build):
    trained, opened = build(VECTORS), build(WordVectors(2, None))
    opened.load_state_dict(trained.state_dict())
    assert torch.equal(trained(X).pooled, opened(X).pooled)
