"""Augmentation of texts, whose words are tokens here: masked, moved, deleted, replaced."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.objectives.masked_lm import find_words
from mmrun.types import Augmentation
from mmrun.values import Range, Share

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORD_STARTS = ("▁", "Ġ")  # with which a token begins that begins a word: SentencePiece, byte-level BPE
CONTINUATION = "##"  # with which WordPiece begins a token inside a word
MIN_LETTERS = 4  # of a word that gets a typo
MAX_TOKENS = 8  # of what replaces a token
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


class AugmentText(Augmentation):
    """Words are masked (Iyyer et al., 2015), moved (Lample et al., 2018), replaced, or deleted (EDA: Wei & Zou, 2019).

    Texts are stored as tokens, so words are spans of tokens. A typo or synonym takes the place of a token that is a
    word of the vocabulary or the beginning of one; it may itself be several tokens. What then no longer fits is cut.
    Special tokens stay, and every text keeps a word.

    Args:
        drop: probability that a word is replaced by the mask token.
        mask_id: of the mask token.
        special_ids: tokens that are no words.
        pad_id: of the padding.
        tokenizer: of the tokens, as JSON; None: every token is a word, and there are neither typos nor synonyms.
        delete: probability that a word is deleted.
        swap: number of places that a word may move.
        typo: probability that a word gets a typo: letters swapped, missing, doubled or hit beside the key.
        synonym: probability that a word that has a synonym is replaced by one.
        synonyms: lists of words that mean the same: [[film, movie], [big, large, huge]].
        max_tokens: of the longest text. Where typos or synonyms make texts longer, the result has as many, also that of
            a batch that was cropped; None: as many as the input.

    Raises:
        ConfigError: there is no tokenizer for typos and synonyms, or no synonym is a token.
    """

    kind = "text"
    special: Tensor
    starts: Tensor

    def __init__(
        self,
        drop: Share = 0.0,
        mask_id: int = 0,
        special_ids: Sequence[int] = (),
        pad_id: int = 0,
        tokenizer: str | None = None,
        delete: Share = 0.0,
        swap: Annotated[int, Range(at_least=0, at_most=100)] = 0,
        typo: Share = 0.0,
        synonym: Share = 0.0,
        synonyms: Sequence[Sequence[str]] = (),
        max_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.max_tokens = max_tokens
        self.drop, self.mask_id, self.pad_id = drop, mask_id, pad_id
        self.delete, self.swap, self.typo, self.synonym = delete, swap, typo, synonym
        self.register_buffer("special", torch.tensor(list(special_ids), dtype=torch.int64), persistent=False)
        vocabulary = None if tokenizer is None else _read_vocabulary(tokenizer)
        starts = torch.ones(1, dtype=torch.bool) if vocabulary is None else vocabulary.starts
        self.register_buffer("starts", starts, persistent=False)
        if (typo > 0 or synonym > 0) and vocabulary is None:
            raise ConfigError("typos and synonyms need a preprocessor whose metadata has a `tokenizer`")
        self.typos = self.synonyms = None
        if typo > 0 and vocabulary is not None:
            self.typos = Replacements(find_typos(vocabulary, special_ids), len(starts))
        if synonym > 0 and vocabulary is not None:
            self.synonyms = Replacements(find_synonyms(vocabulary, synonyms), len(starts))

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each text augmented.

        Args:
            x: text; the mask changes where words are deleted or replaced by longer ones.
        """
        if self.max_tokens is not None and (self.typos is not None or self.synonyms is not None):
            room = (0, self.max_tokens - x["ids"].shape[1])
            x = {**x, "ids": F.pad(x["ids"], room, value=self.pad_id), "mask": F.pad(x["mask"], room)}
        if self.swap > 0:
            x = {**x, "ids": self._swap(x)}
        is_word, word = find_words(x, self.special), self._number_words(x)
        ids = x["ids"]  # [B, T]
        masked = is_word & (_draw_by_word(word) < self.drop)
        tokens, lengths = ids.masked_fill(masked, self.mask_id).unsqueeze(2), x["mask"].long()
        chosen = is_word & ~masked
        if self.synonyms is not None:
            replaced = chosen & (torch.rand(ids.shape, device=ids.device) < self.synonym)
            tokens, lengths = self.synonyms(ids, replaced, tokens, lengths)
            chosen = chosen & ~replaced
        if self.typos is not None:
            replaced = chosen & (torch.rand(ids.shape, device=ids.device) < self.typo)
            tokens, lengths = self.typos(ids, replaced, tokens, lengths)
        if self.delete > 0:
            drawn = _draw_by_word(word)
            last = drawn.masked_fill(~is_word, -1.0).amax(1, keepdim=True)  # the word that is kept in any case
            lengths = lengths.masked_fill(is_word & (drawn < self.delete) & (drawn < last), 0)
        if self.synonyms is None and self.typos is None and self.delete == 0:
            return {**x, "ids": tokens.squeeze(2)}
        return {**x, **self._lay_out(tokens, lengths)}

    def _find_starts(self, x: dict[str, Tensor]) -> Tensor:
        """Return which tokens begin a word, a special token being a word of its own, [B, T] bool."""
        ids, is_word = x["ids"], find_words(x, self.special)
        after_special = torch.cat([torch.ones_like(is_word[:, :1]), ~is_word[:, :-1]], 1)
        starts = self.starts[ids] if len(self.starts) > 1 else torch.ones_like(is_word)
        return starts | ~is_word | after_special

    def _number_words(self, x: dict[str, Tensor]) -> Tensor:
        """Return the number of the word that each token belongs to, from 0, [B, T]."""
        return self._find_starts(x).cumsum(1) - 1

    def _swap(self, x: dict[str, Tensor]) -> Tensor:
        """Return the ids with words moved, which no special token lets pass."""
        is_special = ~find_words(x, self.special)
        place = (self._find_starts(x) + is_special * self.swap * 2).cumsum(1) - is_special * self.swap
        moved = place + (self.swap + 1) * _draw_by_word(self._number_words(x)).masked_fill(is_special, 0.0)
        order = moved.argsort(dim=1, stable=True)  # the tokens of a word have equal keys
        return x["ids"].gather(1, order)

    def _lay_out(self, tokens: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Write what each token has become, [B, T, L] of which `lengths` [B, T] are real, one after the other."""
        num_tokens = tokens.shape[1]
        ends = lengths.cumsum(1)
        places = torch.arange(num_tokens, device=tokens.device).expand_as(lengths).contiguous()
        source = torch.searchsorted(ends, places, right=True).clamp(max=num_tokens - 1)  # token that each place shows
        within = (places - (ends - lengths).gather(1, source)).clamp(0, tokens.shape[2] - 1)
        ids = tokens.gather(1, source.unsqueeze(2).expand(-1, -1, tokens.shape[2])).gather(2, within.unsqueeze(2))
        mask = places < ends[:, -1:]
        ids = ids.squeeze(2).masked_fill(~mask, self.pad_id)
        closing = tokens[:, :, 0].gather(1, (lengths.cumsum(1) == ends[:, -1:]).int().argmax(1, keepdim=True))
        is_cut = (ends[:, -1:] > num_tokens) & (closing.unsqueeze(2) == self.special).any(2)
        return {"ids": torch.cat([ids[:, :-1], torch.where(is_cut, closing, ids[:, -1:])], 1), "mask": mask}


class Replacements(nn.Module):
    """What may take the place of each token.

    Args:
        by_token: for a token, lists of the tokens that may replace it.
        vocab_size: V.
    """

    first: Tensor
    count: Tensor
    tokens: Tensor
    lengths: Tensor

    def __init__(self, by_token: Mapping[int, Sequence[Sequence[int]]], vocab_size: int) -> None:
        super().__init__()
        first, count = torch.zeros(2, vocab_size, dtype=torch.int64)
        lists: list[Sequence[int]] = []
        for token, replacements in by_token.items():
            first[token], count[token] = len(lists), len(replacements)
            lists += replacements
        tokens = torch.zeros(max(1, len(lists)), MAX_TOKENS, dtype=torch.int64)
        for number, replacement in enumerate(lists):
            tokens[number, : len(replacement)] = torch.tensor(replacement)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("count", count, persistent=False)
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("lengths", torch.tensor([len(tokens) for tokens in lists] or [0]), persistent=False)

    def forward(self, ids: Tensor, chosen: Tensor, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Replace tokens, each by one of its replacements; those without any stay.

        Args:
            ids: [B, T].
            chosen: which tokens to replace, [B, T] bool.
            tokens: [B, T, L], what each has become so far.
            lengths: [B, T].

        Returns:
            `tokens` [B, T, MAX_TOKENS] and `lengths`.
        """
        count = self.count[ids]
        drawn = self.first[ids] + (torch.rand(ids.shape, device=ids.device) * count).long().clamp(max=count - 1)
        drawn = drawn.clamp(min=0)
        chosen = chosen & (count > 0)
        padded = nn.functional.pad(tokens, (0, MAX_TOKENS - tokens.shape[2]))
        return (
            torch.where(chosen.unsqueeze(2), self.tokens[drawn], padded),
            torch.where(chosen, self.lengths[drawn], lengths),
        )


def _draw_by_word(word: Tensor) -> Tensor:
    """Draw a number from 0 to 1 for each word; the tokens of a word share it.

    Args:
        word: [B, T], the number of each token's word.
    """
    return torch.rand(word.shape, device=word.device).gather(1, word)


# --------------------------------------------------------------------------------------------------- the vocabulary


class Vocabulary(NamedTuple):
    """The tokens of a tokenizer.

    Attributes:
        tokenizer: itself.
        starts: [V] bool, which tokens begin a word.
        words: what the tokens that begin a word spell, by id.
    """

    tokenizer: "Tokenizer"
    starts: Tensor
    words: dict[int, str]


def _read_vocabulary(tokenizer_json: str) -> Vocabulary:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.get_vocab()
    marker = next((marker for marker in WORD_STARTS if any(token.startswith(marker) for token in ids)), "")
    starts = torch.zeros(max(ids.values()) + 1, dtype=torch.bool)
    words = {}
    for token, number in sorted(ids.items(), key=lambda item: item[1]):
        if token.startswith(marker) and not token.startswith(CONTINUATION):
            starts[number] = True
            words[number] = token.removeprefix(marker)
    return Vocabulary(tokenizer, starts, words)


def spell(tokenizer_json: str, ids: Sequence[int]) -> str:
    """Return the text that tokens spell.

    Args:
        tokenizer_json: of the tokens.
        ids: of the tokens.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    if tokenizer.decoder is not None:
        return str(tokenizer.decode(list(ids), skip_special_tokens=False)).strip()
    text = "".join(tokenizer.id_to_token(number) or "" for number in ids)
    for marker in WORD_STARTS:
        text = text.replace(marker, " ")
    return text.strip()


def _encode(vocabulary: Vocabulary, words: Iterable[str]) -> list[list[int]]:
    """Return the tokens of each word inside a text."""
    encodings = vocabulary.tokenizer.encode_batch([f" {word}" for word in words], add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def find_synonyms(vocabulary: Vocabulary, synonyms: Sequence[Sequence[str]]) -> dict[int, list[list[int]]]:
    """Return the tokens of the synonyms of each word that is one token.

    Args:
        vocabulary: of the texts.
        synonyms: lists of words that mean the same.

    Raises:
        ConfigError: a list has fewer than two words, or none of the words is a token.
    """
    by_token: dict[int, list[list[int]]] = {}
    for words in synonyms:
        if len(words) < 2:
            raise ConfigError(f"synonyms: {list(words)} has no second word; write [[film, movie], ...]")
        encoded = [tokens for tokens in _encode(vocabulary, words) if 0 < len(tokens) <= MAX_TOKENS]
        for tokens in encoded:
            if len(tokens) == 1:
                by_token.setdefault(tokens[0], []).extend(other for other in encoded if other != tokens)
    if not any(by_token.values()):
        raise ConfigError(
            "synonyms: none of the words is a token of the vocabulary; write [[film, movie], ...] with "
            "words of the training texts, or set synonym=0"
        )
    return by_token


def find_typos(vocabulary: Vocabulary, special_ids: Sequence[int]) -> dict[int, list[list[int]]]:
    """Return the tokens of some misspellings of each word of the vocabulary.

    Args:
        vocabulary: of the texts.
        special_ids: tokens that are no words; a misspelling with a letter that is unknown would have one.
    """
    tokens, misspelled = [], []
    for token, word in vocabulary.words.items():
        for misspelling in misspell(word):
            tokens.append(token)
            misspelled.append(misspelling)
    by_token: dict[int, list[list[int]]] = {}
    for token, replacement in zip(tokens, _encode(vocabulary, misspelled), strict=True):
        if 0 < len(replacement) <= MAX_TOKENS and not set(replacement) & set(special_ids):
            by_token.setdefault(token, []).append(replacement)
    return by_token


def misspell(word: str) -> list[str]:
    """Return misspellings of a word, always the same: letters swapped, missing, doubled, and hit beside the key.

    Args:
        word: those of other than letters, or of fewer than MIN_LETTERS, have none.
    """
    if not word.isalpha() or len(word) < MIN_LETTERS:
        return []
    drawn = random.Random(word)
    swapped, missing, doubled, beside = (drawn.randrange(1, len(word) - 1) for _ in range(4))
    misspellings = [
        word[:swapped] + word[swapped + 1] + word[swapped] + word[swapped + 2 :],
        word[:missing] + word[missing + 1 :],
        word[:doubled] + word[doubled] + word[doubled:],
    ]
    for row in KEYBOARD:
        place = row.find(word[beside])
        if place >= 0:
            neighbour = row[place - 1] if place > 0 else row[1]
            misspellings.append(word[:beside] + neighbour + word[beside + 1 :])
    return [misspelling for misspelling in misspellings if misspelling != word]
