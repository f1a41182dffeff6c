"""What is hidden from encoders, and which tokens these parts are."""

import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.encoders.image import Bottleneck, Cnn
from mmrun.models.encoders.tabular import Mlp
from mmrun.objectives.token_masks import (
    MaskedCells,
    MaskedPatches,
    MaskedSteps,
    MaskedWords,
    SilencedSpans,
    check_tokens,
)
from mmrun.testing.examples import KINDS, METADATA, build_batch
from mmrun.types import Features
from tests.options import load_option


def test_words_are_masked_and_special_tokens_are_not():
    mask = MaskedWords(6, mask_id=4, special_ids=[1, 2], ratio=0.5)
    ids = torch.tensor([[1, 7, 8, 9, 10, 2], [1, 7, 2, 0, 0, 0]])
    masked, hidden = mask.hide({"ids": ids, "mask": ids > 0})
    assert hidden.sum(1).tolist() == [2, 1]
    assert not hidden[:, 0].any()
    assert not hidden[1, 2:].any()
    assert torch.equal(masked["ids"], ids.masked_fill(hidden, 4))
    assert torch.equal(mask.align(hidden, Features(ids, torch.zeros(2, 6, 3))), hidden)
    assert mask.align(hidden, Features(ids, torch.zeros(2, 5, 3))) is None


def test_a_patch_token_is_hidden_where_half_of_it_is_and_a_class_token_never():
    mask = MaskedPatches(1, 8, ratio=0.5, grid=4)
    masked, hidden = mask.hide(torch.arange(128.0).view(2, 1, 8, 8))
    assert hidden.sum(1).tolist() == [8, 8]
    assert (masked[0] == 31.5).sum() == 8 * 4  # the mean of the image
    hidden = torch.zeros(1, 16, dtype=torch.bool)
    hidden[0, [0, 1, 2]] = True  # two patches of the upper left quarter, and one of the upper right
    assert mask.align(hidden, Features(hidden, torch.zeros(1, 5, 3))).tolist() == [[False, True, False, False, False]]
    assert mask.align(hidden, Features(hidden, torch.zeros(1, 7, 3))) is None


@pytest.mark.parametrize(
    ("mask", "x", "part"),
    [
        (SilencedSpans(16, 0.5, 4), {"waveform": torch.ones(2, 16), "length": torch.tensor([16, 8])}, "waveform"),
        (MaskedSteps(1, 16, 0.5, 4), {"values": torch.ones(2, 1, 16), "mask": torch.ones(2, 16) > 0}, "values"),
    ],
)
def test_spans_are_hidden_whole_and_tokens_with_them(mask, x, part):
    masked, parts = mask.hide(x)
    hidden = parts.view(2, 4, -1)[:, :, 0]  # of each span
    assert torch.equal(masked[part].view(2, 4, 4) == 0, hidden.unsqueeze(2).expand(2, 4, 4))
    real = torch.tensor([[True] * 8, [True] * 4 + [False] * 4])
    tokens = mask.align(parts, Features(hidden, torch.zeros(2, 8, 3), real))
    assert torch.equal(tokens, hidden.repeat_interleave(2, 1) & real)
    assert mask.align(parts, Features(hidden, torch.zeros(2, 8, 3))) is None  # not in the order of time


def test_cells_go_missing_and_those_that_are_missing_are_not_chosen():
    mask = MaskedCells(2, [3], ratio=0.5)
    x = {
        "numeric": torch.tensor([[0.0, 5.0]] * 50),
        "missing": torch.tensor([[True, False]] * 50),
        "categorical": torch.tensor([[2]] * 50),
    }
    masked, hidden = mask.hide(x)
    assert hidden.sum(1).tolist() == [1] * 50
    assert not hidden[:, 0].any()
    assert torch.equal(masked["missing"][:, 1], hidden[:, 1])
    assert torch.equal(masked["numeric"][:, 1] == 0, hidden[:, 1])
    assert torch.equal(masked["categorical"][:, 0] == 0, hidden[:, 2])


@pytest.mark.parametrize("modality", KINDS)
def test_an_example_is_an_input_of_its_kind(modality):
    node = load_option(f"pretext/{KINDS[modality]}", "data2vec")["mask"]
    example = instantiate(node, "objective.by_kind.mask", METADATA[modality]).example()
    x = build_batch(modality, rows=2).inputs[modality]
    pairs = [(example, x)] if isinstance(x, torch.Tensor) else [(example[name], part) for name, part in x.items()]
    assert all(part.shape == expected.shape and part.dtype == expected.dtype for part, expected in pairs)


@pytest.mark.parametrize(
    ("mask", "encoder", "message"),
    [
        (
            MaskedPatches(1, 16),
            Bottleneck(1, 16),
            "encoder.x: data2vec needs tokens that form a square grid, and this encoder has none; try encoder.x=cnn",
        ),
        (
            MaskedPatches(1, 8),
            Cnn(1),
            "encoder.x: data2vec needs tokens that form a square grid, and this encoder has a single one; try "
            "encoder.x=cnn",
        ),
        (
            MaskedCells(2, [3]),
            Mlp(2, [3]),
            "encoder.x: data2vec needs one token per cell, and this encoder has none; try encoder.x=ft_transformer",
        ),
    ],
)
def test_an_encoder_without_such_tokens_is_refused(mask, encoder, message):
    state = torch.get_rng_state()
    with pytest.raises(ConfigError) as caught:
        check_tokens(mask, encoder, "encoder.x", "data2vec")
    assert str(caught.value) == message
    assert encoder.training
    assert torch.equal(torch.get_rng_state(), state)
