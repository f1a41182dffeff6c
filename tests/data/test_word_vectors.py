"""Files of pretrained word vectors, in each format and with each damage."""

import gzip
import struct

import numpy as np
import pytest

from mmrun.data.word_vectors import read_word_vectors
from mmrun.errors import ConfigError

VECTORS = {"The": [0.0, 1.0], "cat": [1.0, 2.0], "the": [3.0, 4.0], "zebra": [5.0, 6.5]}


def write(folder, content, name="vectors.txt"):
    path = folder / name
    path.write_bytes(content)
    return path


def as_text(vectors=VECTORS):
    return "".join(f"{word} {numbers[0]} {numbers[1]}\n" for word, numbers in vectors.items()).encode()


def as_binary(ending=b"\n"):
    parts = [b"4 2\n"]
    for word, numbers in VECTORS.items():
        parts.append(word.encode() + b" " + struct.pack("<2f", *numbers) + ending)
    return b"".join(parts)


FORMATS = {
    "glove": as_text(),
    "word2vec text, fastText .vec": b"4 2\n" + as_text(),
    "trailing spaces, CR LF": as_text().replace(b"\n", b" \r\n"),
    "word2vec binary": as_binary(),
    "word2vec binary without line ends": as_binary(b""),
    "gzip": gzip.compress(as_text()),
    "gzip of binary": gzip.compress(as_binary()),
}


@pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_vectors(tmp_path, content):
    vectors = read_word_vectors(write(tmp_path, content), {"the", "cat", "dog"}, num_frequent=0)
    assert {word: vector.tolist() for word, vector in vectors.items()} == {"the": [3.0, 4.0], "cat": [1.0, 2.0]}
    assert vectors["the"].dtype == np.float32


def test_the_first_words_are_read_besides_the_wanted_ones(tmp_path):
    assert list(read_word_vectors(write(tmp_path, as_text()), {"zebra"}, num_frequent=2)) == ["the", "cat", "zebra"]


def test_a_word_that_has_only_capitals_is_found(tmp_path):
    path = write(tmp_path, b"PARIS 9 9\nParis 1 2\n")
    assert read_word_vectors(path, {"paris"}, 0)["paris"].tolist() == [9.0, 9.0]


def test_words_with_spaces_and_bytes_that_are_no_text_are_passed_over(tmp_path):
    path = write(tmp_path, b"cat 1 2\nat name 3 4\n\xff\xfe 5 6\n")
    assert list(read_word_vectors(path, {"at", "cat"}, 0)) == ["cat"]


DAMAGE = {
    "there is no such file of word vectors": None,
    "is a zip archive; unpack it, and name the file of vectors in it": b"PK\x03\x04rest",
    "is a model of fastText; name its .vec file": struct.pack("<i", 793712314) + b"rest",
    "the first line is neither 'words dimensions' nor a word and its numbers": b"just a sentence\nof text\n"[:4],
    "line 2: has not 2 numbers after a word": b"cat 1 2\nthe 1\n",
    "line 1: has not 2 numbers after a word": b"the one two\n",
    "the vector of word 1 is not finite; the file is damaged": b"the nan 2\n",
    "is cut off after 3 of 4 words": as_binary(b"")[:-1],
    "is cut off after 1 of 4 words": as_binary(b"")[:16],
    "is cut off after 2 of 4 words": b"4 2\n" + b"the 1 2\ncat 3 4\n",
    "is damaged after 1 words": as_binary(b"")[:16] + b"\x00" * 9999,
    "none of its words is in the training rows; is it of another language?": b"katze 1 2\n",
    "cannot be read": gzip.compress(as_text())[:-12],
    "the first line is neither": b"3 99999999\n" + as_text(),
}


@pytest.mark.parametrize(("message", "content"), DAMAGE.items(), ids=DAMAGE)
def test_damage_is_named(tmp_path, message, content):
    path = tmp_path / "absent.txt" if content is None else write(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        read_word_vectors(path, {"the", "cat"}, num_frequent=0)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_line_without_end_is_not_read_whole(tmp_path):
    path = write(tmp_path, b"the 1 2\n" + b"x" * 10_000_000)
    assert list(read_word_vectors(path, {"the"}, 0)) == ["the"]
