"""Text: strings and UTF-8 files, split into subword tokens."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from mmrun.data import limits
from mmrun.data.preprocess.lengths import AUTO, Auto, check_range, choose_length, describe_cut, format_share
from mmrun.data.sheets.encoding import detect_unicode
from mmrun.data.table import Column
from mmrun.data.word_vectors import read_word_vectors
from mmrun.data_types import WordVectors
from mmrun.errors import ConfigError, DataError
from mmrun.hub import TOKENIZER_REMEDY, fetch
from mmrun.values import NonNegativeInt, Width

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.models import Model
    from tokenizers.normalizers import Normalizer

Normalization = Literal["html", "urls", "users", "lower", "accents", "whitespace"]

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4 of a vocabulary trained here
TRAINED_IDS = {"pad_id": 0, "mask_id": 4, "special_ids": list(range(len(SPECIAL_TOKENS)))}
VOCAB_RANGE = (4000, 32000)  # smallest and largest vocabulary that is chosen
LENGTH_STEP = 8  # tokens; a length that is chosen is rounded up to a multiple, which suits tensor cores
CHUNK_SIZE = 1024  # texts that are tokenized at a time
MAX_WORDS = 10_000_000  # of the training rows, with word vectors
MAX_COUNTED = 50_000  # rows whose tokens are counted to choose a length
WORD = re.compile(r"\w+")
LONG_WORD = re.compile(r"(\w{2000})\w+")  # of which a vocabulary learns the start alone: of megabytes it takes hours

HTML_TAG = r"<[!/]?[A-Za-z][^<>]{0,1000}>|<!--.{0,1000}?-->"
HTML_ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&apos;": "'", "&nbsp;": " ", "&amp;": "&"}
URL = r"(?i:https?://|www\.)\S+"
USER_NAME = r"(?<![\w@.])@\w{1,50}"

NORMALIZATIONS: dict[Normalization, str] = {
    "html": "HTML tags removed",
    "urls": "URLs become 'http'",
    "users": "user names become '@user'",
    "lower": "lower case",
    "accents": "accents removed",
    "whitespace": "white space becomes one space",
}


class _Vocabulary(NamedTuple):
    """A tokenizer and what is known of it.

    `ids` are those of its padding, mask and special tokens; `longest` is how many tokens its model reads, a huge number
    where that is not known; `vectors` are those of its words.
    """

    tokenizer: "Tokenizer"
    ids: dict[str, Any]
    unknown_id: int | None
    longest: float = math.inf
    is_pretrained: bool = False
    vectors: WordVectors | None = None


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
        normalizer = _build_normalizer(self.normalize)
        if self.vectors is not None:
            vocabulary = _find_words(column, rows, Path(self.vectors), self.frequent_words, normalizer)
        elif self.tokenizer is None:
            vocabulary = _train_vocabulary(column, rows, self.vocab_size, normalizer)
        else:
            vocabulary = _load_vocabulary(self.tokenizer)
            _prepend_normalizer(vocabulary.tokenizer, normalizer)
        lengths = _count_tokens(column, vocabulary.tokenizer)
        max_tokens = (
            int(self.max_tokens) if self.max_tokens != AUTO else self._choose_max_tokens(lengths, rows, vocabulary)
        )
        texts = _read_rows(column, np.arange(len(column.values)))
        words = count_words(texts if normalizer is None else map(normalizer.normalize_str, texts))
        self.notes = [
            describe_cut(lengths, max_tokens, "tokens", "max_tokens"),
            _describe_vocabulary(vocabulary, words)
            if vocabulary.vectors is None
            else _describe_vectors(vocabulary, words, Path(str(self.vectors)).name),
        ]
        if self.normalize:
            self.notes.append(f"texts are normalised: {', '.join(NORMALIZATIONS[name] for name in self.normalize)}")
        self._set_tokenizer(vocabulary.tokenizer, max_tokens, vocabulary.ids)
        if vocabulary.vectors is not None:
            self.metadata["word_vectors"] = vocabulary.vectors

    def _choose_max_tokens(self, lengths: np.ndarray, rows: np.ndarray, vocabulary: "_Vocabulary") -> int:
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
        """Restore a state.

        Args:
            state: of another object.
        """
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


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count how often each word occurs, in lower case.

    Args:
        texts: to count.
    """
    words: Counter[str] = Counter()
    for text in texts:
        words.update(WORD.findall(text.lower()))
    return words


def choose_vocab_size(words: Counter[str]) -> int:
    """Return the number of words that occur more than once, within VOCAB_RANGE.

    Args:
        words: of the training rows.
    """
    repeated = sum(count > 1 for count in words.values())
    return min(max(repeated, VOCAB_RANGE[0]), VOCAB_RANGE[1])


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


def _describe_vocabulary(vocabulary: "_Vocabulary", words: Counter[str]) -> str:
    """Describe which share of the words of all rows the tokenizer splits, or does not know."""
    encoded = vocabulary.tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
    num_split = num_unknown = 0
    for encoding, count in zip(encoded, words.values(), strict=True):
        num_split += count * (len(encoding) > 1)
        num_unknown += count * (vocabulary.unknown_id in encoding.ids)
    total = max(1, words.total())
    origin = "pretrained" if vocabulary.is_pretrained else "learned from the training rows"
    return (
        f"{vocabulary.tokenizer.get_vocab_size():,} subwords, {origin}: {format_share(num_split / total)} of all words "
        f"are read in pieces, {format_share(num_unknown / total)} have unknown characters"
    )


def _describe_vectors(vocabulary: "_Vocabulary", words: Counter[str], file: str) -> str:
    """Describe which share of the words of all rows has a vector, or is not known at all."""
    matrix = cast(WordVectors, vocabulary.vectors).matrix
    assert matrix is not None
    has_vector = ~np.isnan(matrix[:, 0])
    ids = vocabulary.tokenizer.get_vocab()
    with_vector = sum(count for word, count in words.items() if word in ids and has_vector[ids[word]])
    unknown = sum(count for word, count in words.items() if word not in ids)
    total = max(1, words.total())
    return (
        f"{len(ids):,} words: {format_share(with_vector / total)} of all words have a vector in {file}, "
        f"{format_share(unknown / total)} are unknown"
    )


def _find_words(
    column: Column, rows: np.ndarray, file: Path, num_frequent: int, normalizer: "Normalizer | None"
) -> _Vocabulary:
    """Build a vocabulary of words from the training rows and a file of vectors."""
    from tokenizers import models

    tokenizer = _build_tokenizer(models.WordLevel(unk_token="[UNK]"), normalizer)
    in_training = _list_words(tokenizer, _read_rows(column, rows), min_frequency=1)
    repeated = set(_list_words(tokenizer, _read_rows(column, rows), min_frequency=2))
    vectors = read_word_vectors(file, in_training, num_frequent)
    words = [word for word in in_training if word in repeated or word in vectors]
    ids = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL_TOKENS, *words, *vectors]))}
    dim = len(next(iter(vectors.values())))
    matrix = np.full((len(ids), dim), np.nan, dtype=np.float32)
    matrix[[ids[word] for word in vectors]] = list(vectors.values())
    tokenizer.model = models.WordLevel(ids, unk_token="[UNK]")
    return _Vocabulary(tokenizer, TRAINED_IDS, unknown_id=1, vectors=WordVectors(dim, matrix))


def _list_words(tokenizer: "Tokenizer", texts: Iterator[str], min_frequency: int) -> list[str]:
    """Return the words of texts that occur so often, the most frequent first."""
    from tokenizers import trainers

    trainer = trainers.WordLevelTrainer(vocab_size=MAX_WORDS, min_frequency=min_frequency, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=lambda word: ids[word])


def _build_normalizer(names: Sequence[Normalization]) -> "Normalizer | None":
    """Return what normalises a text as the options say; None where nothing is on."""
    from tokenizers import Regex, normalizers

    steps: dict[Normalization, list[Normalizer]] = {
        "html": [
            normalizers.Replace(Regex(HTML_TAG), " "),
            *(normalizers.Replace(entity, letter) for entity, letter in HTML_ENTITIES.items()),
        ],
        "urls": [normalizers.Replace(Regex(URL), "http")],
        "users": [normalizers.Replace(Regex(USER_NAME), "@user")],
        "lower": [normalizers.Lowercase()],
        "accents": [normalizers.NFD(), normalizers.StripAccents(), normalizers.NFC()],
        "whitespace": [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()],
    }
    chosen = [normalizer for name in names for normalizer in steps[name]]
    return normalizers.Sequence(chosen) if chosen else None


def _prepend_normalizer(tokenizer: "Tokenizer", normalizer: "Normalizer | None") -> None:
    """Let a tokenizer normalise a text in this way before its own normalisation."""
    from tokenizers import normalizers

    if normalizer is not None:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizer, *own])


def _train_vocabulary(
    column: Column, rows: np.ndarray, vocab_size: int | str, normalizer: "Normalizer | None"
) -> "_Vocabulary":
    if vocab_size == AUTO:
        texts = _read_rows(column, rows)
        vocab_size = choose_vocab_size(
            count_words(texts if normalizer is None else map(normalizer.normalize_str, texts))
        )
    tokenizer = _train_tokenizer(_read_rows(column, rows), int(vocab_size), normalizer)
    return _Vocabulary(tokenizer, TRAINED_IDS, unknown_id=1)


def _train_tokenizer(texts: Iterator[str], vocab_size: int, normalizer: "Normalizer | None") -> "Tokenizer":
    from tokenizers import models, pre_tokenizers, trainers

    tokenizer = _build_tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True), normalizer)
    # Marks the start of a word. With a prefix inside words (##) this library numbers the letters in random order.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    tokenizer.train_from_iterator((LONG_WORD.sub(r"\1", text) for text in texts), trainer)
    return tokenizer


def _build_tokenizer(model: "Model", normalizer: "Normalizer | None") -> "Tokenizer":
    """Return a tokenizer of words in lower case, between [CLS] and [SEP]."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    _prepend_normalizer(tokenizer, normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()  # puts spaces between words
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _load_vocabulary(name: str) -> "_Vocabulary":
    from transformers import AutoTokenizer

    loaded = fetch(
        lambda local_only: AutoTokenizer.from_pretrained(name, local_files_only=local_only, trust_remote_code=False),
        name,
        TOKENIZER_REMEDY,
        what="the tokenizer's files of",
    )
    if not loaded.is_fast:
        raise ConfigError(f"tokenizer: {name!r} has no tokenizer.json; choose a model that has one")
    pad = 0 if loaded.pad_token_id is None else loaded.pad_token_id
    mask = loaded.unk_token_id if loaded.mask_token_id is None else loaded.mask_token_id
    ids = {"pad_id": pad, "mask_id": pad if mask is None else mask, "special_ids": sorted(loaded.all_special_ids)}
    return _Vocabulary(loaded.backend_tokenizer, ids, loaded.unk_token_id, loaded.model_max_length, is_pretrained=True)
