"""Text: strings and UTF-8 files, split into subword tokens."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mmrun.data import limits
from mmrun.data.preprocess.lengths import AUTO, Auto, check_range, choose_length, describe_cut
from mmrun.data.preprocess.vocabulary import (
    NORMALIZATIONS,
    Normalization,
    Vocabulary,
    build_normalizer,
    count_words,
    find_words,
    load_vocabulary,
    train_vocabulary,
)
from mmrun.data.sheets.encoding import detect_unicode
from mmrun.data.table import Column
from mmrun.data_types import WordVectors
from mmrun.errors import ConfigError, DataError
from mmrun.values import NonNegativeInt, Width

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

LENGTH_STEP = 8  # tokens; a length that is chosen is rounded up to a multiple, which suits tensor cores
CHUNK_SIZE = 1024  # texts that are tokenized at a time
MAX_COUNTED = 50_000  # rows whose tokens are counted to choose a length


class Tokens:
    """Decodes text to "ids" [T] and a "mask" [T] of the real tokens; longer texts are truncated, shorter ones padded.

    By default tokens are byte-pair subwords (Sennrich et al., 2016), trained on the training rows. With `vectors` they
    are words: those of the training rows that have a vector or occur more than once, and frequent words of the file.

    Args:
        vocab_size: of a vocabulary trained here; "auto": one subword for each word that occurs more than once in the
            training rows, within VOCAB_RANGE.
        max_tokens: T; "auto": 99 % of the training rows are kept whole.
        tokenizer: name on the hub, or folder, of a tokenizer of transformers; None: train one.
        auto_range: smallest and largest T that "auto" chooses; never more than a pretrained tokenizer's model reads.
        normalize: what is done to a text before it is tokenized, in the order of `NORMALIZATIONS`. It becomes a part of
            the tokenizer. A vocabulary trained here is in lower case anyway.
        vectors: a file of pretrained word vectors (word2vec, GloVe, fastText's .vec), which encoders start from.
        frequent_words: words from the beginning of this file that the vocabulary has besides those of the training
            rows, so that they are known in new texts.

    Attributes:
        metadata: vocab_size, max_tokens, pad_id, mask_id, special_ids and word_vectors, for encoders and objectives,
            and the complete tokenizer as JSON, for augmentations.
        notes: what is cut, and which words are not in the vocabulary.

    Raises:
        ConfigError: the range is none, or `vectors` are combined with `tokenizer` or `vocab_size`.
    """

    def __init__(
        self,
        vocab_size: Width | Auto = AUTO,
        max_tokens: Width | Auto = AUTO,
        tokenizer: str | None = None,
        auto_range: tuple[Width, Width] = (32, 512),
        normalize: Sequence[Normalization] = (),
        vectors: str | None = None,
        frequent_words: NonNegativeInt = 20_000,
    ) -> None:
        check_range(auto_range)
        if vectors is not None and (tokenizer is not None or vocab_size != AUTO):
            raise ConfigError("preprocess.vectors: brings its own vocabulary; leave out tokenizer and vocab_size")
        self.normalize = [name for name in NORMALIZATIONS if name in normalize]
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens
        self.tokenizer = tokenizer
        self.auto_range = auto_range
        self.vectors = vectors
        self.frequent_words = frequent_words
        self.metadata: dict[str, object] = {}
        self.notes: list[str] = []

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Train the vocabulary, or load the pretrained tokenizer or word vectors; choose the length.

        Args:
            column: the texts.
            rows: numbers of the training rows [N].

        Raises:
            ConfigError: the pretrained tokenizer or the word vectors cannot be loaded.
        """
        normalizer = build_normalizer(self.normalize)
        vocabulary = self._build_vocabulary(column, rows, normalizer)
        lengths = _count_tokens(column, vocabulary.tokenizer)
        max_tokens = (
            int(self.max_tokens) if self.max_tokens != AUTO else self._choose_max_tokens(lengths, rows, vocabulary)
        )
        texts = _read_rows(column, np.arange(len(column.values)))
        words = count_words(texts if normalizer is None else map(normalizer.normalize_str, texts))
        self.notes = [describe_cut(lengths, max_tokens, "tokens", "max_tokens"), vocabulary.describe(words)]
        if self.normalize:
            self.notes.append(f"texts are normalised: {', '.join(NORMALIZATIONS[name] for name in self.normalize)}")
        self._set_tokenizer(vocabulary.tokenizer, max_tokens, vocabulary.ids)
        if vocabulary.vectors is not None:
            self.metadata["word_vectors"] = vocabulary.vectors

    def _build_vocabulary(self, column: Column, rows: np.ndarray, normalizer: "Normalizer | None") -> Vocabulary:
        texts = partial(_read_rows, column, rows)
        if self.vectors is not None:
            return find_words(texts, Path(self.vectors).expanduser(), self.frequent_words, normalizer)
        if self.tokenizer is not None:
            return load_vocabulary(self.tokenizer, normalizer)
        return train_vocabulary(texts, self.vocab_size, normalizer)

    def _choose_max_tokens(self, lengths: np.ndarray, rows: np.ndarray, vocabulary: Vocabulary) -> int:
        """Choose T within `auto_range`, a multiple of LENGTH_STEP where the tokenizer's model reads as much."""
        shortest, longest = (min(length, vocabulary.longest) for length in self.auto_range)
        chosen = choose_length(lengths, rows, (shortest, longest))
        return min(math.ceil(chosen / LENGTH_STEP) * LENGTH_STEP, int(longest))

    def decode(self, value: str | Path) -> dict[str, np.ndarray]:
        """Tokenize one row.

        Args:
            value: the text, or a file in UTF-8, UTF-16 or UTF-32.

        Returns:
            "ids" [max_tokens] int32 and "mask" [max_tokens] bool.

        Raises:
            DataError: the file cannot be read.
        """
        encoded = self._tokenizer.encode(read_text(value))
        return {
            "ids": np.array(encoded.ids, dtype=np.int32),
            "mask": np.array(encoded.attention_mask, dtype=bool),
        }

    def decode_rows(self, values: Sequence[str | Path | None]) -> dict[str, np.ndarray] | None:
        """Tokenize many rows at once, on all cores.

        Args:
            values: n texts or files, None where the modality is missing.

        Returns:
            "ids" [n, max_tokens] int32 and "mask" [n, max_tokens] bool, zeros where the modality is missing; None where
            a file cannot be read.
        """
        try:
            texts = {row: read_text(value) for row, value in enumerate(values) if value is not None}
        except DataError:
            return None
        shape = (len(values), cast(int, self.metadata["max_tokens"]))
        ids, mask = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.bool_)
        encoded = self._tokenizer.encode_batch_fast(list(texts.values()))
        ids[list(texts)] = [encoding.ids for encoding in encoded]
        mask[list(texts)] = [encoding.attention_mask for encoding in encoded]
        return {"ids": ids, "mask": mask}

    def state(self) -> dict[str, object]:
        """Return the complete tokenizer, so that its files are not needed again, and the metadata."""
        state = dict(self.metadata)
        vectors = cast(WordVectors | None, state.pop("word_vectors", None))
        if vectors is not None and vectors.matrix is not None:
            digest = hashlib.blake2b(vectors.matrix.tobytes(), digest_size=16).hexdigest()
            state |= {"vector_dim": vectors.dim, "vector_digest": digest}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of another object."""
        from tokenizers import Tokenizer

        ids = {key: state[key] for key in ("pad_id", "mask_id", "special_ids")}
        self._set_tokenizer(Tokenizer.from_str(state["tokenizer"]), state["max_tokens"], ids)
        if "vector_dim" in state:
            self.metadata["word_vectors"] = WordVectors(state["vector_dim"], None)

    def _set_tokenizer(self, tokenizer: "Tokenizer", max_tokens: int, ids: dict[str, Any]) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        vocabulary = tokenizer.to_str()  # the same for every length
        tokenizer.enable_truncation(max_tokens)
        tokenizer.enable_padding(
            length=max_tokens, pad_id=ids["pad_id"], pad_token=tokenizer.id_to_token(ids["pad_id"])
        )
        self._tokenizer = tokenizer
        sizes = {"vocab_size": tokenizer.get_vocab_size(), "max_tokens": max_tokens}
        self.metadata = {"tokenizer": vocabulary, **sizes, **ids}


def read_text(value: str | Path) -> str:
    """Return the string itself, or the content of the file.

    Args:
        value: the text, or a file in UTF-8, UTF-16 or UTF-32.

    Raises:
        DataError: the file cannot be read.
    """
    if isinstance(value, str):
        return value
    try:
        content = limits.read_text(value)
        return content.decode(detect_unicode(content[:4096]))
    except UnicodeDecodeError as error:
        raise DataError(f"{value.name} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{value.name} cannot be read ({error.strerror})") from None


def _read_rows(column: Column, rows: Iterable[int]) -> Iterator[str]:
    """Yield the readable texts; an unreadable one is skipped here, and reported when all rows are decoded."""
    for row in rows:
        yield from _read_texts(column, [row]).values()


def _read_texts(column: Column, rows: Iterable[int]) -> dict[int, str]:
    """Return the readable texts of some rows, by row."""
    texts = {}
    for row in rows:
        value = column.values[row]
        try:
            if value is not None:
                texts[row] = read_text(value)
        except DataError:
            continue
    return texts


def _count_tokens(column: Column, tokenizer: "Tokenizer") -> np.ndarray:
    """Count the tokens of rows before anything is truncated: of all, or of MAX_COUNTED that are evenly spaced.

    Returns:
        [N] float64, NaN where there is no text or it was not counted.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    num_rows = len(column.values)
    counted = np.unique(np.linspace(0, num_rows - 1, min(num_rows, MAX_COUNTED)).astype(np.int64))
    lengths = np.full(num_rows, np.nan)
    for start in range(0, len(counted), CHUNK_SIZE):
        texts = _read_texts(column, counted[start : start + CHUNK_SIZE])
        encoded = tokenizer.encode_batch_fast(list(texts.values()))
        lengths[list(texts)] = [len(encoding) for encoding in encoded]
    return lengths
