"""data2vec: its targets and its loss by hand, its schedule, and what it is worth."""

import pytest
import torch

from mmrun.models.encoders.text import Transformer
from mmrun.objectives.data2vec import Data2Vec, normalize_features, normalize_tokens
from mmrun.objectives.token_masks import MaskedPatches, MaskedWords
from mmrun.types import Features
from tests.objectives.digits import pretrain

TEXT = {"ids": torch.tensor([[5, 6, 7, 8], [9, 5, 0, 0]]), "mask": torch.tensor([[True] * 4, [True] * 2 + [False] * 2])}


def build(**changes):
    torch.manual_seed(0)
    encoder = Transformer(vocab_size=10, max_tokens=4, pad_id=0, dim=8, num_layers=3, dropout=0.5)
    pretext = Data2Vec(8, lambda: MaskedWords(4, mask_id=4, ratio=0.5), **changes)
    pretext.attach(encoder)
    return encoder, pretext


def test_the_target_is_the_mean_of_the_top_layers_each_normalised_of_the_whole_text():
    encoder, pretext = build(top_k=2)
    masked, target = pretext.corrupt(TEXT, torch.ones(2, dtype=torch.bool))
    assert (masked["ids"] == 4).sum(1).tolist() == [2, 1]
    top = encoder.eval().encode_layers(TEXT)[1:]  # of three, without dropout
    expected = sum(torch.nn.functional.layer_norm(layer, (8,)) for layer in top) / 2
    pretext.predict = torch.nn.Identity()
    perfect = pretext.loss(Features(expected[:, 0], expected, TEXT["mask"]), target)
    assert perfect.tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    wrong = pretext.loss(Features(expected[:, 0], expected + 3.0, TEXT["mask"]), target)
    assert wrong.tolist() == pytest.approx([3.0 - 2.0 / 2] * 2)  # smooth L1 beyond beta = 2


def test_only_hidden_tokens_count():
    encoder, pretext = build()
    _, target = pretext.corrupt(TEXT, torch.ones(2, dtype=torch.bool))
    features = encoder.eval()(TEXT)
    changed = features.tokens.where(target["hidden"].unsqueeze(2), 100.0)
    assert torch.equal(pretext.loss(features._replace(tokens=changed), target), pretext.loss(features, target))


def test_features_are_standardised_over_the_real_tokens_of_a_row():
    tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[True, True, False]])
    assert normalize_features(tokens, mask)[0, :2, 0].tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)
    assert normalize_features(tokens[:, :2], None)[0, :, 0].tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)
    assert normalize_tokens(torch.tensor([[[1.0, 3.0]]]), None)[0, 0].tolist() == pytest.approx([-1.0, 1.0], abs=1e-4)


def test_the_teacher_follows_more_and_more_slowly_during_the_warm_up():
    encoder, pretext = build(decay=0.8, final_decay=0.9, warmup=0.5)
    rates = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        pretext.set_progress(progress)
        with torch.no_grad():
            encoder.position.fill_(1.0)
            pretext.teacher.module.position.fill_(0.0)
        pretext.update(encoder)
        rates.append(pretext.teacher.module.position[0, 0].item())
    assert rates == pytest.approx([0.2, 0.15, 0.1, 0.1])


def test_features_of_digits_never_labelled_are_worth_something():
    def build_data2vec(dim):
        return Data2Vec(dim, lambda: MaskedPatches(1, 8, 0.6, 4), final_decay=0.99)

    _, _, gain = pretrain(build_data2vec, steps=150, rows=64, lr=4e-3, channels=(32, 64))
    assert gain > 0.03
