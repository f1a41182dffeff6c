"""Texts: how much of them is read, and with which vocabulary."""

from collections import Counter

import numpy as np

from mmrun.data.preprocess.text import Tokens, choose_vocab_size, count_words
from mmrun.data.table import Column


def test_the_last_of_a_hundred_words_is_read():
    """At 32 tokens it was cut: texts that differ in it alone were the same."""
    texts = ["so " * 99 + last for last in ("good", "bad")]
    tokens = Tokens()
    tokens.fit(Column("text", texts), np.array([0, 1]))
    good, bad = (tokens.decode(text) for text in texts)
    assert (good["ids"] != bad["ids"]).sum() == 1
    assert tokens.metadata["max_tokens"] == 104  # 102 with [CLS] and [SEP], in steps of 8
    assert tokens.notes == [
        "104 tokens are read: none of 2 rows is cut (the longest has 102 tokens)",
        "21 subwords, learned from the training rows: 0% of all words are read in pieces, 0% have unknown characters",
    ]


def test_a_given_length_stays_and_what_it_cuts_is_said():
    texts = ["so " * 99 + "good", "so good", None]
    tokens = Tokens(max_tokens=32)
    tokens.fit(Column("text", texts), np.array([0, 1]))
    assert tokens.metadata["max_tokens"] == 32
    assert tokens.notes[0] == (
        "the first 32 tokens are read: 50.0% of 2 rows are cut (the longest has 102 tokens); "
        "preprocess.max_tokens sets another length"
    )


def test_unknown_words_are_counted_over_all_rows():
    tokens = Tokens()
    tokens.fit(Column("text", ["red red", "blue blue", "red жук bluered"]), np.array([0, 1]))
    assert tokens.notes[1] == (
        "19 subwords, learned from the training rows: 28.6% of all words are read in pieces, "
        "14.3% have unknown characters"
    )


def test_short_texts_get_32_tokens_and_long_ones_no_more_than_512():
    for text, length in (("a b", 32), ("a " * 600, 512)):
        tokens = Tokens()
        tokens.fit(Column("text", [text]), np.array([0]))
        assert len(tokens.decode(text)["ids"]) == length


def test_the_vocabulary_has_room_for_the_words_that_occur_more_than_once():
    assert count_words(["The cat, the dog.", "A cat"]) == {"the": 2, "cat": 2, "dog": 1, "a": 1}
    assert choose_vocab_size(Counter(range(9000))) == 4000
    assert choose_vocab_size(Counter([*range(9000), *range(6000)])) == 6000
    assert choose_vocab_size(Counter([*range(99000), *range(99000)])) == 32000


def test_a_pretrained_tokenizer_is_asked_how_much_its_model_reads(tmp_path):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    trained = Tokens()
    trained.fit(Column("text", ["so good"]), np.array([0]))
    backend = Tokenizer.from_str(trained.state()["tokenizer"])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=20, **names).save_pretrained(tmp_path)
    tokens = Tokens(tokenizer=str(tmp_path))
    tokens.fit(Column("text", ["so " * 99, "жук"]), np.array([0]))
    assert tokens.metadata["max_tokens"] == 20
    assert tokens.notes[1] == (
        "16 subwords, pretrained: 1.0% of all words are read in pieces, 1.0% have unknown characters"
    )
