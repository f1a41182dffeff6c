"""Files of pretrained word vectors: word2vec (text and binary), GloVe and fastText's `.vec`, also compressed with gzip.

A file is read once, line by line, and only the vectors of the requested words are kept. Words are compared in lower
case; of several spellings in the file, the one in lower case counts, else the first, which is the most frequent one.
"""

import gzip
import io
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from mmrun.errors import ConfigError

MAX_DIM = 1 << 13  # numbers of a vector
MAX_WORD_BYTES = 1 << 12
MAX_LINE_BYTES = MAX_WORD_BYTES + 32 * MAX_DIM
GZIP, ZIP, FASTTEXT_MODEL = b"\x1f\x8b", b"PK\x03\x04", struct.pack("<i", 793712314)  # first bytes of a file
NUMBERS = frozenset(b"0123456789+-.eE \t\r\n")  # what the numbers of a text file are made of


class Entry(NamedTuple):
    """A word of a file.

    Attributes:
        word: as it is spelled there, in UTF-8.
        numbers: its vector, as text or as float32.
        place: line or number of the word in the file, from 1, for messages.
    """

    word: bytes
    numbers: bytes
    place: int


class Header(NamedTuple):
    """What a file says or shows of its vectors.

    Attributes:
        dim: numbers of a vector.
        is_binary: whether they are stored as float32, little-endian.
        num_words: in the file, which its first line says; None: it has no such line.
    """

    dim: int
    is_binary: bool
    num_words: int | None


def read_word_vectors(path: Path, words: Collection[str], num_frequent: int) -> dict[str, np.ndarray]:
    """Read the vectors of some words.

    Args:
        path: the file.
        words: that are requested, in lower case.
        num_frequent: words from the beginning of the file whose vectors are read too: files begin with frequent words.

    Returns:
        float32 [E] by word, in lower case.

    Raises:
        ConfigError: there is no such file, it holds no word vectors, or it is damaged.
    """
    words = set(words)
    vectors: dict[str, np.ndarray] = {}
    in_lower_case = set()
    try:
        with _open(path) as stream:
            header = _read_header(path, stream)
            entries = _read_binary(path, stream, header.dim) if header.is_binary else _read_lines(stream, header)
            count = 0
            for count, entry in enumerate(entries, start=1):
                spelled = entry.word.decode("utf-8", errors="replace")
                word = spelled.lower()
                is_better = word not in vectors or (spelled == word and word not in in_lower_case)
                if not is_better or (count > num_frequent and word not in words):
                    continue
                vector = _parse(path, entry, header)
                if vector is not None:
                    vectors[word] = vector
                    in_lower_case |= {word} if spelled == word else set()
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if header.num_words is not None and count < header.num_words:
        raise ConfigError(f"{path}: is cut off after {count:,} of {header.num_words:,} words; copy it again")
    if not vectors:
        raise ConfigError(f"{path}: none of its words is in the training rows; is it of another language?")
    return vectors


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file of word vectors")
    with path.open("rb") as stream:
        start = stream.read(4)
    if start == ZIP:
        raise ConfigError(f"{path}: is a zip archive; unpack it, and name the file of vectors in it")
    if start == FASTTEXT_MODEL:
        raise ConfigError(f"{path}: is a model of fastText; name its .vec file")
    return io.BufferedReader(gzip.open(path)) if start[:2] == GZIP else path.open("rb")


def _read_header(path: Path, stream: IO[bytes]) -> Header:
    """Read the first line if it is a header; else leave the stream at the start of the file."""
    line = stream.readline(MAX_LINE_BYTES)
    fields = line.split()
    if len(fields) == 2 and all(field.isdigit() and len(field) < 20 for field in fields):
        header = Header(int(fields[1]), _is_binary(stream, len(line)), int(fields[0]))
    else:
        header = Header(len(fields) - 1, is_binary=False, num_words=None)
        stream.seek(0)
    if not 1 <= header.dim <= MAX_DIM or (header.num_words is None and header.dim == 1):
        raise ConfigError(
            f"{path}: the first line is neither 'words dimensions' nor a word and its numbers; word2vec, GloVe and "
            "fastText's .vec are read"
        )
    return header


def _is_binary(stream: IO[bytes], start: int) -> bool:
    """Return whether what follows the first word are no numbers in text; the stream stays after the header."""
    sample = stream.read(MAX_WORD_BYTES + 64)
    stream.seek(start)
    _, _, numbers = sample.partition(b" ")
    return not NUMBERS.issuperset(numbers.split(b"\n")[0][:64])


def _read_lines(stream: IO[bytes], header: Header) -> Iterator[Entry]:
    place = int(header.num_words is not None)
    while line := stream.readline(MAX_LINE_BYTES):
        place += 1
        word, _, numbers = line.strip().partition(b" ")
        if word:
            yield Entry(word, numbers, place)


def _read_binary(path: Path, stream: IO[bytes], dim: int) -> Iterator[Entry]:
    place = 0
    while start := stream.read(1):
        if start == b"\n":  # some writers end a word with it
            continue
        word = bytearray(start)
        while (letter := stream.read(1)) != b" ":
            word += letter
            if len(word) > MAX_WORD_BYTES:
                raise ConfigError(f"{path}: is damaged after {place:,} words")
            if not letter:
                return
        numbers = stream.read(4 * dim)
        if len(numbers) < 4 * dim:
            return
        place += 1
        yield Entry(bytes(word), numbers, place)


def _parse(path: Path, entry: Entry, header: Header) -> np.ndarray | None:
    """Return a vector; None where the word has a space inside, as a few of GloVe have."""
    if header.is_binary:
        vector = np.frombuffer(entry.numbers, dtype="<f4").astype(np.float32)
    else:
        fields = entry.numbers.split()
        if len(fields) > header.dim:
            return None
        try:
            vector = np.array(fields, dtype=np.float32)
        except ValueError:
            vector = np.empty(0, dtype=np.float32)
        if len(vector) != header.dim:
            raise ConfigError(f"{path}, line {entry.place}: has not {header.dim} numbers after a word")
    if not np.isfinite(vector).all():
        raise ConfigError(f"{path}: the vector of word {entry.place:,} is not finite; the file is damaged")
    return vector
