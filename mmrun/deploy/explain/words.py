"""The words of a text, and which tokens they are read as."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Words(NamedTuple):
    """The words of one text that the encoder reads.

    Attributes:
        text: the whole text.
        spans: begin and end of each word in it.
        word_of_token: number of the word of each token [T]; -1 for special tokens and padding.
    """

    text: str
    spans: list[tuple[int, int]]
    word_of_token: np.ndarray

    @property
    def names(self) -> list[str]:
        """The words as they are written."""
        return [self.text[begin:end] for begin, end in self.spans]


class WordSplitter:
    """Splits texts into the words of a tokenizer.

    Args:
        state: of the preprocessor `data.preprocess.text.Tokens`.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        from tokenizers import Tokenizer

        self.max_tokens: int = state["max_tokens"]
        self._tokenizer = Tokenizer.from_str(state["tokenizer"])
        self._tokenizer.enable_truncation(self.max_tokens)

    def split(self, text: str) -> Words:
        """Find the words of a text."""
        encoding = self._tokenizer.encode(text)
        word_of_token = np.full(self.max_tokens, -1, dtype=np.int64)
        spans: list[tuple[int, int]] = []
        previous = None
        for token, (word, (begin, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
            if word is None:
                continue
            starts_with_space = begin < end and text[begin].isspace()
            follows_space = begin > 0 and text[begin - 1].isspace()
            if word != previous or starts_with_space or (follows_space and spans[-1][1] < begin):
                spans.append((begin, end))
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
            word_of_token[token] = len(spans) - 1
            previous = word
        return Words(text, [_trim(text, *span) for span in spans], word_of_token)


def number_tokens(ids: np.ndarray, mask: np.ndarray) -> Words:
    """Return the real tokens of a text as words such as "#17", where it is not known how they are written.

    Args:
        ids: [T].
        mask: [T], True where a token is real.
    """
    spans: list[tuple[int, int]] = []
    text = ""
    for token in ids[mask].tolist():
        text += " " if text else ""
        spans.append((len(text), len(text) + len(f"#{token}")))
        text += f"#{token}"
    return Words(text, spans, np.where(mask, np.cumsum(mask) - 1, -1))


def _trim(text: str, begin: int, end: int) -> tuple[int, int]:
    """Leave out the space before a word."""
    while begin < end - 1 and text[begin].isspace():
        begin += 1
    return begin, end
