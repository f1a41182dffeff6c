import numpy as np
import pytest
import torch

from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.objectives.augmentations.text import AugmentText, misspell

SPECIAL = [0, 1, 2, 3, 4]
TEXT = "a wonderful film about lonely people"


def build_tokens(max_tokens=24):
    tokens = Tokens(max_tokens=max_tokens)
    texts = [TEXT, TEXT, "a wonderful movie", "a wonderful movie", "the motion picture of the year", "the year"]
    tokens.fit(Column("text", texts), np.arange(6))
    return tokens


def augment(text, rows=1, max_tokens=24, seed=0, **changes):
    """Return the texts that augmented tokens spell."""
    tokens = build_tokens(max_tokens)
    parts = {name: torch.tensor(part).expand(rows, -1) for name, part in tokens.decode(text).items()}
    torch.manual_seed(seed)
    x = AugmentText(**changes, **{name: tokens.metadata[name] for name in ("mask_id", "special_ids", "tokenizer")})(
        {**parts, "ids": parts["ids"].long()}
    )
    texts = []
    for ids, mask in zip(x["ids"], x["mask"], strict=True):
        assert not ids[~mask].any()
        spelled = "".join(tokens._tokenizer.id_to_token(number) for number in ids[mask].tolist())
        texts.append(spelled.replace("▁", " ").removeprefix("[CLS]").strip())
    return texts


def test_words_are_masked_and_special_tokens_are_not():
    x = {"ids": torch.tensor([[2, 7, 8, 3, 0]] * 1000), "mask": torch.tensor([[True] * 4 + [False]] * 1000)}
    masked = AugmentText(1.0, mask_id=4, special_ids=SPECIAL)(x)
    assert masked["ids"].unique(dim=0).tolist() == [[2, 4, 4, 3, 0]]
    every_word = AugmentText(1.0, mask_id=4)(x)  # without special ids every token is a word
    assert every_word["ids"][0].tolist() == [4, 4, 4, 4, 0]
    torch.manual_seed(0)
    some = AugmentText(0.2, 4, SPECIAL)(x)["ids"]
    assert (some == 4).float().sum().item() / 2000 == pytest.approx(0.2, abs=0.03)


def test_deleted_words_close_the_gap():
    x = {"ids": torch.tensor([[2, 7, 8, 9, 3, 0]] * 500), "mask": torch.tensor([[True] * 5 + [False]] * 500)}
    torch.manual_seed(0)
    deleted = AugmentText(delete=0.5, special_ids=SPECIAL)(x)
    rows = {tuple(ids[mask].tolist()) for ids, mask in zip(deleted["ids"], deleted["mask"], strict=True)}
    kept = [(7,), (8,), (9,), (7, 8), (7, 9), (8, 9), (7, 8, 9)]  # one at least
    assert rows == {(2, *words, 3) for words in kept}
    assert not deleted["ids"][~deleted["mask"]].any()


def test_words_move_no_further_than_they_may():
    x = {"ids": torch.tensor([[2, 7, 8, 9, 3, 0]] * 500), "mask": torch.tensor([[True] * 5 + [False]] * 500)}
    torch.manual_seed(0)
    rows = {tuple(ids.tolist()) for ids in AugmentText(swap=1, special_ids=SPECIAL)(x)["ids"]}
    assert rows == {(2, *words, 3, 0) for words in ((7, 8, 9), (8, 7, 9), (7, 9, 8))}


def test_no_word_passes_a_special_token():
    x = {"ids": torch.tensor([[2, 7, 3, 8, 3]] * 200), "mask": torch.ones(200, 5, dtype=torch.bool)}
    assert AugmentText(swap=9, special_ids=SPECIAL)(x)["ids"].equal(x["ids"])


def test_the_tokens_of_a_word_stay_together():
    words = set(TEXT.split())
    for text in set(augment(TEXT, rows=50, swap=2, delete=0.3)):
        assert set(text.removesuffix("[SEP]").split()) <= words
    assert any(text.split()[0] == "wonderful" for text in augment(TEXT, rows=50, swap=2))


def test_typos_are_spelled_with_other_tokens():
    texts = set(augment("wonderful people", rows=300, typo=0.5))
    expected = {"wonderful", *misspell("wonderful")}
    assert {text.split()[0] for text in texts} == expected
    assert "wonderful people[SEP]" in texts


def test_misspellings_are_always_the_same():
    assert misspell("film") == ["flim", "fim", "fillm", "fulm"]
    assert misspell("the") == misspell("1234") == []
    assert misspell("größe") == ["grßöe", "göße", "größße"]


def test_synonyms_may_be_several_words():
    synonyms = [["film", "movie", "motion picture"]]
    texts = set(augment("a wonderful film", rows=100, synonym=1.0, synonyms=synonyms))
    assert texts == {"a wonderful movie[SEP]", "a wonderful motion picture[SEP]"}


def test_what_no_longer_fits_is_cut_before_the_closing_token():
    texts = augment(
        "a wonderful film about lonely", rows=50, max_tokens=7, synonym=1.0, synonyms=[["film", "motion picture"]]
    )
    assert set(texts) == {"a wonderful motion picture about[SEP]"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"synonym": 0.1}, "synonyms: none of the words is a token of the vocabulary; write "),
        ({"synonym": 0.1, "synonyms": [["cat", "dog"]]}, "synonyms: none of the words is a token of"),
        (
            {"synonym": 0.1, "synonyms": [["film"]]},
            "synonyms: ['film'] has no second word; write [[film, ",
        ),
    ],
)
def test_synonyms_that_replace_nothing_are_refused(changes, message):
    with pytest.raises(ConfigError) as error:
        augment(TEXT, **changes)
    assert str(error.value).startswith(message)


def test_typos_need_a_tokenizer():
    with pytest.raises(ConfigError) as error:
        AugmentText(typo=0.1)
    assert str(error.value) == "typos and synonyms need a preprocessor whose metadata has a `tokenizer`"
