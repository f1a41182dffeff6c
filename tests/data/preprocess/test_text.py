"""Texts: how much of them is read, and with which vocabulary."""

import json
import subprocess
import sys
from collections import Counter
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from tokenizers import Tokenizer

from mmrun.data.preprocess.text import Tokens
from mmrun.data.preprocess.vocabulary import choose_vocab_size, count_words
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from tests.data.preprocess.fitted import TEXTS, fitted


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


def test_a_word_of_megabytes_does_not_delay_the_vocabulary():
    tokens = Tokens()
    tokens.fit(Column("text", ["xy" * 100_000, "a few words"]), np.arange(2))
    assert tokens.decode("a few words")["ids"].shape == (200,)


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


def test_subwords_are_trained_on_the_training_rows():
    tokens = fitted(Tokens(vocab_size=60, max_tokens=12), "text", TEXTS)
    decoded = tokens.decode("The CAT sat")
    assert (decoded["ids"].dtype, decoded["ids"].shape) == (np.int32, (12,))
    assert decoded["ids"][0] == 2  # [CLS]
    length = int(decoded["mask"].sum())
    assert decoded["ids"][length - 1] == 3  # [SEP]
    assert (decoded["ids"][length:] == 0).all()
    assert (decoded["ids"] == tokens.decode("the cat sat")["ids"]).all()
    assert 1 in tokens.decode("ж")["ids"]  # [UNK]
    assert tokens.metadata["pad_id"] == 0
    assert tokens.metadata["mask_id"] == 4
    assert tokens.metadata["max_tokens"] == 12
    assert 30 < tokens.metadata["vocab_size"] <= 60
    assert tokens.decode("the " * 50)["ids"][-1] == 3
    assert tokens.decode("the " * 50)["mask"].all()


TRAIN = """
import json, numpy as np
from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
words = [f"{a}{b}{c} {c}{a}." for a in "abcde" for b in "fghij" for c in "klmno"]
tokens = Tokens(100, 8)
tokens.fit(Column("text", words), np.arange(len(words)))
print(json.dumps(tokens.state()))
"""


def test_the_vocabulary_is_the_same_in_every_process():
    runs = [subprocess.Popen([sys.executable, "-c", TRAIN], stdout=subprocess.PIPE) for _ in range(4)]
    states = {run.communicate()[0] for run in runs}
    assert len(states) == 1
    assert json.loads(states.pop())["vocab_size"] == 100


def test_a_text_file(media):
    tokens = fitted(Tokens(60, 12), "text", [media / "note.txt", "Grüß Dich"])
    assert (tokens.decode(media / "note.txt")["ids"] == tokens.decode("GRÜß DICH")["ids"]).all()
    (media / "latin.txt").write_bytes("grüß".encode("latin-1"))
    with pytest.raises(DataError) as error:
        tokens.decode(media / "latin.txt")
    assert str(error.value) == "latin.txt is not UTF-8 text (byte 2)"


def test_a_pretrained_tokenizer(tmp_path):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    trained = fitted(Tokens(60, 12), "text", TEXTS)
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(trained.state()["tokenizer"]), pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(tmp_path)
    pretrained = fitted(Tokens(max_tokens=6, tokenizer=str(tmp_path)), "text", TEXTS)
    assert pretrained.metadata["max_tokens"] == 6
    assert pretrained.metadata["pad_id"] == 0
    assert pretrained.metadata["mask_id"] == 1  # it has no mask token: that of [UNK]
    assert pretrained.decode("the cat")["ids"].tolist()[:3] == trained.decode("the cat")["ids"].tolist()[:3]


def test_a_missing_tokenizer():
    with pytest.raises(ConfigError) as error:
        fitted(Tokens(tokenizer="/no/such/folder"), "text", TEXTS)
    assert str(error.value) == (
        "the tokenizer's files of /no/such/folder are not cached and the hub cannot be reached; "
        "set preprocess.tokenizer to a folder that holds tokenizer.json, or to null to train one"
    )


@pytest.mark.parametrize(
    ("name", "text", "normalized"),
    [
        ("html", "<p class='a'>Tom &amp; Jerry</p><!-- no -->3 < 4 &lt;", " Tom & Jerry  3 < 4 <"),
        ("urls", "see https://a.b/c?d=1 or www.e.f", "see http or http"),
        ("users", "@Ann_1: mail bob@c.de", "@user: mail bob@c.de"),
        ("lower", "ÄB", "äb"),
        ("accents", "Ünïcödé", "Unicode"),
        ("whitespace", "  a\t\nb ", "a b"),
    ],
)
def test_texts_can_be_normalised(name, text, normalized):
    tokens = fitted(Tokens(60, 12, normalize=[name]), "text", TEXTS)
    normalizer = Tokenizer.from_str(tokens.state()["tokenizer"]).normalizer
    assert normalizer.normalize_str(text) == normalize("NFKC", normalized).lower()


def test_normalised_texts_are_one_text_and_no_user_name_is_a_word():
    texts = ["Café  &amp; @Ann", "cafe & @Bob"]
    tokens = Tokens(60, 12, normalize=["whitespace", "users", "html", "accents"])
    tokens.fit(Column("text", texts), np.arange(2))
    first, second = (tokens.decode(text)["ids"].tolist() for text in texts)
    assert first == second
    assert tokens.notes[2] == (
        "texts are normalised: HTML tags removed, user names become '@user', accents removed, "
        "white space becomes one space"
    )
    assert "ann" not in tokens.state()["tokenizer"]


def test_many_rows_are_tokenized_to_the_bits_of_single_ones(tmp_path):
    file = tmp_path / "story.txt"
    file.write_text("a long story about a cat")
    values = ["a cat", None, file, "a dog and another dog"]
    tokens = Tokens(60, 8)
    tokens.fit(Column("text", values), np.arange(4))
    together = tokens.decode_rows(values)
    for row in (0, 2, 3):
        alone = tokens.decode(values[row])
        assert {name: part[row].tolist() for name, part in together.items()} == {
            name: part.tolist() for name, part in alone.items()
        }
    assert together["ids"].dtype == np.int32
    assert not together["ids"][1].any()
    assert not together["mask"][1].any()
    file.write_bytes(b"\x81")
    assert tokens.decode_rows(values) is None


def write_vectors(folder):
    path = folder / "vectors.txt"
    path.write_text("the 0 1\ngood 1 2\nGreat 3 4\nawful 5 6\n", encoding="utf-8")
    return path


def test_word_vectors_bring_their_own_vocabulary(tmp_path):
    texts = Column("text", ["Good films, good music", "odd films", "the awful one"])
    tokens = Tokens(vectors=str(write_vectors(tmp_path)), frequent_words=3, auto_range=(8, 64))
    tokens.fit(texts, np.array([0, 1]))
    words = json.loads(str(tokens.metadata["tokenizer"]))["model"]["vocab"]
    assert list(words)[5:] == ["films", "good", "the", "great"]  # one of the training rows, then those of the file
    vectors: Any = tokens.metadata["word_vectors"]
    assert vectors.matrix[words["good"]].tolist() == [1, 2]
    assert vectors.matrix[words["great"]].tolist() == [3, 4]
    assert np.isnan(vectors.matrix[words["films"]]).all()
    assert tokens.notes[1] == "9 words: 33.3% of all words have a vector, 44.4% are unknown"
    assert tokens.decode("the great GOOD!")["ids"].tolist() == [2, 7, 8, 6, 1, 3, 0, 0]


def test_a_restored_vocabulary_needs_no_file_of_vectors(tmp_path):
    tokens = Tokens(vectors=str(write_vectors(tmp_path)))
    tokens.fit(Column("text", ["good", "good awful"]), np.array([0, 1]))
    state = json.loads(json.dumps(tokens.state()))
    (tmp_path / "vectors.txt").unlink()
    restored = Tokens(vectors="vectors.txt")
    restored.restore(state)
    assert restored.decode("awful good")["ids"].tolist() == tokens.decode("awful good")["ids"].tolist()
    assert restored.metadata["word_vectors"] == (2, None)


@pytest.mark.parametrize("options", [{"tokenizer": "bert"}, {"vocab_size": 100}])
def test_word_vectors_go_with_no_other_vocabulary(options):
    with pytest.raises(ConfigError, match="vectors: brings its own vocabulary"):
        Tokens(vectors="vectors.txt", **options)
