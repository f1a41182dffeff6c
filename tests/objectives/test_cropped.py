"""What an objective learns from a batch does not depend on whether its padding is cropped."""

import pytest
import torch
from torch.utils._pytree import tree_map

from mmrun.data.length_groups import crop_parts
from mmrun.models.encoders import series, text
from mmrun.objectives.augment import Augmentations
from mmrun.objectives.augmentations.text import AugmentText
from mmrun.objectives.causal_lm import CausalLM
from mmrun.objectives.data2vec import Data2Vec
from mmrun.objectives.denoise import DenoiseSeries
from mmrun.objectives.masked_lm import MaskedLM
from mmrun.objectives.masked_spectrogram import MaskedSpectrogram
from mmrun.objectives.token_masks import MaskedSteps
from mmrun.types import Batch, Features

LONGEST, WIDTH, VOCABULARY = 96, 32, 60  # steps or tokens
LENGTHS = torch.tensor([[3], [32], [17], [0]])
MASK = torch.arange(LONGEST) < LENGTHS
PRESENT = torch.tensor([True, True, True, False])


def make_series():
    return {"values": torch.randn(4, 2, LONGEST) * MASK[:, None], "mask": MASK}


def make_text():
    return {"ids": torch.randint(5, VOCABULARY, (4, LONGEST)) * MASK, "mask": MASK}


def build_denoise():
    return DenoiseSeries(16, 2, LONGEST)


def build_data2vec():
    return Data2Vec(16, lambda: MaskedSteps(2, LONGEST), normalize="instance")


@pytest.mark.parametrize("build", [build_denoise, build_data2vec])
@pytest.mark.parametrize("encoder", [series.Rnn(2, "gru", 16, dropout=0.0), series.Cnn1d(2, (8, 16), (5, 3), 0.0)])
def test_the_same_spans_of_series_are_hidden_and_predicted(build, encoder):
    torch.manual_seed(0)
    pretext, x = build(), make_series()
    pretext.attach(encoder)

    def compute_loss(x):
        torch.manual_seed(1)
        corrupted, target = pretext.corrupt(x, PRESENT)
        return pretext.loss(encoder(corrupted), target)

    losses, cropped = compute_loss(x), compute_loss(crop_parts(x, WIDTH))
    torch.testing.assert_close(cropped[PRESENT], losses[PRESENT], atol=1e-5, rtol=1e-5)


def test_the_same_spans_of_sounds_are_silenced_and_predicted():
    torch.manual_seed(0)
    pretext, pooled = MaskedSpectrogram(16, 8000, 8000), torch.randn(4, 16)
    length = torch.tensor([100, 1500, 2400, 800])
    x = {"waveform": torch.randn(4, 8000) * (torch.arange(8000) < length[:, None]), "length": length}

    def corrupt(x):
        torch.manual_seed(1)
        return pretext.corrupt(x, PRESENT)

    (full, target), (cropped, cropped_target) = corrupt(x), corrupt(crop_parts(x, 3200))
    assert torch.equal(cropped["waveform"], full["waveform"][:, :3200])
    losses = [pretext.loss(Features(pooled), parts) for parts in (target, cropped_target)]
    assert torch.equal(losses[0], losses[1])


@pytest.mark.parametrize(
    ("pretext", "pooled"),
    [(MaskedLM(16, VOCABULARY, 4), False), (MaskedLM(16, VOCABULARY, 4), True), (CausalLM(16, VOCABULARY), False)],
)
def test_padding_is_not_predicted(pretext, pooled):
    """How many random numbers are drawn depends on the width, so the batch is padded once it is corrupted."""
    torch.manual_seed(0)
    encoder = text.Rnn(VOCABULARY, 0, "gru", 16, 16, bidirectional=False, dropout=0.0)
    corrupted, target = pretext.corrupt(crop_parts(make_text(), WIDTH), PRESENT)

    def pad(part):
        is_whole = part.shape[1] == WIDTH
        return torch.nn.functional.pad(part, (0, LONGEST - WIDTH)) if is_whole else part

    def compute_loss(x, target):
        features = encoder(x)
        return pretext.loss(Features(features.pooled) if pooled else features, target)

    losses, padded = compute_loss(corrupted, target), compute_loss(*tree_map(pad, (corrupted, target)))
    torch.testing.assert_close(losses[PRESENT], padded[PRESENT], atol=1e-5, rtol=1e-5)


def test_texts_that_become_longer_find_room():
    """Synonyms of two tokens for each word: of a batch that was cropped, no word is lost."""
    vocabulary = {"[UNK]": 0, "[PAD]": 1, **{word: 2 + number for number, word in enumerate("abcdefgh")}}
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel(vocabulary, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    metadata = {"tokenizer": tokenizer.to_str(), "pad_id": 1, "special_ids": [0, 1], "max_tokens": LONGEST}

    def build(metadata, **kwargs):
        return AugmentText(synonym=1.0, synonyms=[["a", "b c"], ["d", "e f"]], **kwargs)

    augment = Augmentations({"note": "text"}, {"note": metadata}, text=build)
    ids = torch.tensor([[2, 5] * 8, [1] * 16])
    batch = Batch({"note": {"ids": ids, "mask": ids > 1}}, {"note": torch.tensor([True, False])}, {}, torch.arange(2))
    note = augment(batch).inputs["note"]
    assert note["ids"].shape == (2, LONGEST)
    assert note["ids"][0, :32].tolist() == [3, 4, 6, 7] * 8
    assert note["mask"].sum(1).tolist() == [32, 0]
