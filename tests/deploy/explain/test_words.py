"""The words of a text, and the tokens that they are read as."""

import numpy as np

from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.deploy.explain.words import WordSplitter, number_tokens


def split(text, max_tokens=12):
    tokens = Tokens(vocab_size=60, max_tokens=max_tokens)
    tokens.fit(Column("text", ["a small mug", "a tall, blue lamp"] * 3), np.arange(6))
    words = WordSplitter(tokens.state()).split(text)
    assert (words.word_of_token >= 0).sum() <= tokens.decode(text)["mask"].sum()
    return words


def test_subwords_belong_to_the_word_that_they_are_part_of():
    words = split("A small Lampum!")
    assert words.names == ["A", "small", "Lampum", "!"]
    tokens_of = np.bincount(words.word_of_token[words.word_of_token >= 0])
    assert tokens_of[2] > 1  # not in the vocabulary
    assert words.word_of_token[0] == -1  # [CLS]


def test_a_text_that_is_cut_has_only_the_words_that_are_read():
    assert split("a small mug a small mug", max_tokens=5).names == ["a", "small", "mug"]


def test_an_empty_text_has_no_words():
    assert split("").names == []


def test_tokens_that_cannot_be_spelled_are_numbered():
    words = number_tokens(np.array([7, 12, 0]), np.array([True, True, False]))
    assert (words.text, words.names) == ("#7 #12", ["#7", "#12"])
    assert words.word_of_token.tolist() == [0, 1, -1]
