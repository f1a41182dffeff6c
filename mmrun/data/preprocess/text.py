"""Text: strings and UTF-8 files, split into subword tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrun.data.encoding import detect_unicode
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from mmrun.hub import fetch
from mmrun.values import Width

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4 of a vocabulary trained here


class Tokens:
    """Decodes text to "ids" [T] and a "mask" [T] of the real tokens; longer texts are truncated, shorter ones padded.

    By default tokens are byte-pair subwords (Sennrich et al., 2016), trained on the training rows.

    Args:
        vocab_size: of a vocabulary trained here.
        max_tokens: T.
        tokenizer: name on the hub, or folder, of a tokenizer of transformers; None: train one.

    Attributes:
        metadata: vocab_size, max_tokens, pad_id, mask_id and special_ids, for encoders and objectives.
    """

    def __init__(self, vocab_size: Width = 4096, max_tokens: Width = 64, tokenizer: str | None = None) -> None:
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens
        self.tokenizer = tokenizer
        self.metadata: dict[str, object] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Train the vocabulary, or load the pretrained tokenizer.

        Args:
            column: the texts.
            rows: numbers of the training rows [N].

        Raises:
            ConfigError: the pretrained tokenizer cannot be loaded.
        """
        if self.tokenizer is None:
            tokenizer = _train_tokenizer(_read_rows(column, rows), self.vocab_size)
            ids = {"pad_id": 0, "mask_id": 4, "special_ids": list(range(len(SPECIAL_TOKENS)))}
        else:
            tokenizer, ids = _load_tokenizer(self.tokenizer)
        self._set_tokenizer(tokenizer, ids)

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

    def state(self) -> dict[str, object]:
        """Return the complete tokenizer, so that its files are not needed again, and the metadata."""
        return {"tokenizer": self._tokenizer.to_str(), **self.metadata}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Args:
            state: of another object.
        """
        from tokenizers import Tokenizer

        self.max_tokens = state["max_tokens"]
        ids = {key: state[key] for key in ("pad_id", "mask_id", "special_ids")}
        self._set_tokenizer(Tokenizer.from_str(state["tokenizer"]), ids)

    def _set_tokenizer(self, tokenizer: "Tokenizer", ids: dict[str, Any]) -> None:
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.enable_padding(
            length=self.max_tokens, pad_id=ids["pad_id"], pad_token=tokenizer.id_to_token(ids["pad_id"])
        )
        self._tokenizer = tokenizer
        self.metadata = {"vocab_size": tokenizer.get_vocab_size(), "max_tokens": self.max_tokens, **ids}


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
        content = value.read_bytes()
        return content.decode(detect_unicode(content[:4096]))
    except UnicodeDecodeError as error:
        raise DataError(f"{value.name} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{value.name} cannot be read ({error.strerror})") from None


def _read_rows(column: Column, rows: np.ndarray) -> Iterator[str]:
    """Yield the readable texts; an unreadable one is skipped here, and reported when all rows are decoded."""
    for row in rows:
        value = column.values[row]
        try:
            text = None if value is None else read_text(value)
        except DataError:
            continue
        if text is not None:
            yield text


def _train_tokenizer(texts: Iterator[str], vocab_size: int) -> "Tokenizer":
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # Marks the start of a word. With a prefix inside words (##) this library numbers the letters in random order.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _load_tokenizer(name: str) -> tuple["Tokenizer", dict[str, Any]]:
    """Return a pretrained tokenizer, and the ids of its padding, mask and special tokens."""
    from transformers import AutoTokenizer

    loaded = fetch(
        lambda local_only: AutoTokenizer.from_pretrained(name, local_files_only=local_only, trust_remote_code=False),
        name,
        "set preprocess.tokenizer to a folder that holds tokenizer.json, or to null to train one",
        what="the tokenizer's files of",
    )
    if not loaded.is_fast:
        raise ConfigError(f"tokenizer: {name!r} has no tokenizer.json; choose a model that has one")
    pad = 0 if loaded.pad_token_id is None else loaded.pad_token_id
    mask = loaded.unk_token_id if loaded.mask_token_id is None else loaded.mask_token_id
    ids = {"pad_id": pad, "mask_id": pad if mask is None else mask, "special_ids": sorted(loaded.all_special_ids)}
    return loaded.backend_tokenizer, ids
