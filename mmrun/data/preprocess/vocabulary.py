"""The vocabulary of texts: trained on them, that of a pretrained tokenizer, or the words of a file of vectors."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mmrun.data.preprocess.lengths import AUTO, format_share
from mmrun.data.word_vectors import read_word_vectors
from mmrun.data_types import WordVectors
from mmrun.errors import ConfigError
from mmrun.hub import TOKENIZER_REMEDY, fetch

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.models import Model
    from tokenizers.normalizers import Normalizer

Normalization = Literal["html", "urls", "users", "lower", "accents", "whitespace"]
Texts = Callable[[], Iterator[str]]  # reads the texts of the training rows, as often as it is called

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4 of a vocabulary trained here
TRAINED_IDS = {"pad_id": 0, "mask_id": 4, "special_ids": list(range(len(SPECIAL_TOKENS)))}
VOCAB_RANGE = (4000, 32000)  # smallest and largest vocabulary that is chosen
MAX_WORDS = 10_000_000  # of the training rows, with word vectors
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


class Vocabulary(NamedTuple):
    """A tokenizer and what is known of it.

    Attributes:
        tokenizer: without truncation and padding of its own.
        ids: those of its padding, mask and special tokens: pad_id, mask_id, special_ids.
        unknown_id: of the token for what it does not know; None: it has none.
        longest: how many tokens its model reads, a huge number where that is not known.
        is_pretrained: whether it comes from a model.
        vectors: of its words; None: it has none.
    """

    tokenizer: "Tokenizer"
    ids: dict[str, Any]
    unknown_id: int | None
    longest: float = math.inf
    is_pretrained: bool = False
    vectors: WordVectors | None = None

    def describe(self, words: Counter[str]) -> str:
        """Describe how the words of all rows are read.

        Args:
            words: how often each occurs.
        """
        return _describe_pieces(self, words) if self.vectors is None else _describe_vectors(self, self.vectors, words)


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


def train_vocabulary(texts: Texts, vocab_size: int | str, normalizer: "Normalizer | None") -> Vocabulary:
    """Train a vocabulary of byte-pair subwords.

    Args:
        texts: of the training rows.
        vocab_size: number of tokens, or "auto".
        normalizer: what is done to a text first.
    """
    if vocab_size == AUTO:
        normalized = texts() if normalizer is None else map(normalizer.normalize_str, texts())
        vocab_size = choose_vocab_size(count_words(normalized))
    tokenizer = _train_tokenizer(texts(), int(vocab_size), normalizer)
    return Vocabulary(tokenizer, TRAINED_IDS, unknown_id=1)


def find_words(texts: Texts, file: Path, num_frequent: int, normalizer: "Normalizer | None") -> Vocabulary:
    """Build a vocabulary of words: of the training rows if they have a vector or occur more than once, and of a file.

    Args:
        texts: of the training rows.
        file: of word vectors.
        num_frequent: words from the beginning of the file that the vocabulary has in any case.
        normalizer: what is done to a text first.

    Raises:
        ConfigError: the file cannot be read.
    """
    from tokenizers import decoders, models

    tokenizer = _build_tokenizer(models.WordLevel(unk_token="[UNK]"), normalizer)
    tokenizer.decoder = decoders.WordPiece()  # puts spaces between words
    in_training = _list_words(tokenizer, texts(), min_frequency=1)
    repeated = set(_list_words(tokenizer, texts(), min_frequency=2))
    vectors = read_word_vectors(file, in_training, num_frequent)
    words = [word for word in in_training if word in repeated or word in vectors]
    ids = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL_TOKENS, *words, *vectors]))}
    dim = len(next(iter(vectors.values())))
    matrix = np.full((len(ids), dim), np.nan, dtype=np.float32)
    matrix[[ids[word] for word in vectors]] = list(vectors.values())
    tokenizer.model = models.WordLevel(ids, unk_token="[UNK]")
    return Vocabulary(tokenizer, TRAINED_IDS, unknown_id=1, vectors=WordVectors(dim, matrix))


def load_vocabulary(name: str, normalizer: "Normalizer | None" = None) -> Vocabulary:
    """Load the vocabulary of a pretrained tokenizer.

    Args:
        name: on the hub, or a folder.
        normalizer: what is done to a text before the tokenizer's own normalisation.

    Raises:
        ConfigError: it cannot be loaded, or is not a fast tokenizer.
    """
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
    _prepend_normalizer(loaded.backend_tokenizer, normalizer)
    return Vocabulary(loaded.backend_tokenizer, ids, loaded.unk_token_id, loaded.model_max_length, is_pretrained=True)


def build_normalizer(names: Sequence[Normalization]) -> "Normalizer | None":
    """Return what normalises a text; None where nothing is on.

    Args:
        names: in the order in which they are applied.
    """
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
    chosen = list(chain.from_iterable(steps[name] for name in names))
    return normalizers.Sequence(chosen) if chosen else None


def _prepend_normalizer(tokenizer: "Tokenizer", normalizer: "Normalizer | None") -> None:
    """Let a tokenizer normalise a text in this way before its own normalisation."""
    from tokenizers import normalizers

    if normalizer is not None:
        present = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizer, *present])


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
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    _prepend_normalizer(tokenizer, normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _list_words(tokenizer: "Tokenizer", texts: Iterator[str], min_frequency: int) -> list[str]:
    """Return the words of texts that occur so often, the most frequent first."""
    from tokenizers import trainers

    trainer = trainers.WordLevelTrainer(vocab_size=MAX_WORDS, min_frequency=min_frequency, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    return sorted(ids, key=lambda word: ids[word])


def _describe_pieces(vocabulary: Vocabulary, words: Counter[str]) -> str:
    """Describe which share of the words the tokenizer splits, or does not know."""
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


def _describe_vectors(vocabulary: Vocabulary, vectors: WordVectors, words: Counter[str]) -> str:
    """Describe which share of the words has a vector, or is not known at all."""
    assert vectors.matrix is not None
    has_vector = ~np.isnan(vectors.matrix[:, 0])
    ids = vocabulary.tokenizer.get_vocab()
    with_vector = sum(count for word, count in words.items() if word in ids and has_vector[ids[word]])
    unknown = sum(count for word, count in words.items() if word not in ids)
    total = max(1, words.total())
    return (
        f"{len(ids):,} words: {format_share(with_vector / total)} of all words have a vector, "
        f"{format_share(unknown / total)} are unknown"
    )
