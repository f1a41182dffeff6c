"""Strings and UTF-8 text files, cut into subwords."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from mmrun.hub import fetch

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4 of a vocabulary of our own


class Tokens:
    """Decode to int32 ids and a mask [T]: byte-pair subwords (Sennrich et al., 2016) learned on the training rows.

    Or those of a ready tokenizer of transformers: `tokenizer` is its name on the hub, or its folder.
    """

    def __init__(self, vocab_size: int = 4096, max_tokens: int = 64, tokenizer: str | None = None) -> None:
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens
        self.tokenizer = tokenizer
        self.metadata: dict[str, Any] = {}

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Learn the vocabulary, or load the ready one."""
        if self.tokenizer is None:
            made = _train(_readable(column, rows), self.vocab_size)
            ids = {"pad_id": 0, "mask_id": 4, "special_ids": list(range(len(SPECIAL)))}
        else:
            made, ids = _ready(self.tokenizer)
        self._use(made, ids)

    def decode(self, value: str | Path) -> dict[str, np.ndarray]:
        """Return ids and mask of one text; a file is read as UTF-8."""
        encoded = self._tokenizer.encode(read_text(value))
        return {
            "ids": np.array(encoded.ids, dtype=np.int32),
            "mask": np.array(encoded.attention_mask, dtype=bool),
        }

    def state(self) -> dict[str, Any]:
        """Return the whole tokenizer, so that it is not needed again, and the ids of what is no word."""
        return {"tokenizer": self._tokenizer.to_str(), **self.metadata}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `state` was taken from."""
        from tokenizers import Tokenizer

        self.max_tokens = state["max_tokens"]
        ids = {key: state[key] for key in ("pad_id", "mask_id", "special_ids")}
        self._use(Tokenizer.from_str(state["tokenizer"]), ids)

    def _use(self, tokenizer: Any, ids: dict[str, Any]) -> None:
        tokenizer.enable_truncation(self.max_tokens)
        tokenizer.enable_padding(
            length=self.max_tokens, pad_id=ids["pad_id"], pad_token=tokenizer.id_to_token(ids["pad_id"])
        )
        self._tokenizer = tokenizer
        self.metadata = {"vocab_size": tokenizer.get_vocab_size(), "max_tokens": self.max_tokens, **ids}


def read_text(value: str | Path) -> str:
    """Return the string itself, or what the file says."""
    if isinstance(value, str):
        return value
    try:
        return value.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{value.name} is no UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{value.name} cannot be read ({error.strerror})") from None


def _readable(column: Column, rows: np.ndarray) -> Iterator[str]:
    """Return the training texts; one that cannot be read is reported when all rows are decoded."""
    for row in rows:
        value = column.values[row]
        try:
            text = None if value is None else read_text(value)
        except DataError:
            continue
        if text is not None:
            yield text


def _train(texts: Iterator[str], vocab_size: int) -> Any:  # tokenizers.Tokenizer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    # A mark at the start of a word, none inside: with a mark inside (##) this library numbers letters by chance.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _ready(name: str) -> tuple[Any, dict[str, Any]]:
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
