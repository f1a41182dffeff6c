import pytest
import torch
from torch import nn

from mmrun.objectives.masked_lm import MaskedLM
from mmrun.testing.examples import DIM, build_batch, build_model
from mmrun.types import Features
from tests.objectives.single import PRESENT, build_objective


def draw_text(rows=200):
    lengths = torch.tensor([20, 7, 1, 0] * (rows // 4)).unsqueeze(1)
    ids = torch.randint(5, 1000, (rows, 20))
    return {"ids": ids, "mask": torch.arange(20) < lengths}


def test_masked_lm_chooses_the_same_share_of_every_row():
    x = draw_text()
    corrupted, target = MaskedLM(DIM, 1000, mask_id=4, ratio=0.3).corrupt(x, PRESENT)
    assert target["chosen"].sum(1).tolist() == [6, 2, 1, 0] * 50  # at least one where there is a word
    changed = corrupted["ids"] != x["ids"]
    assert not changed[~x["mask"]].any()  # padding is never touched
    chosen = torch.zeros(200, 20, dtype=torch.bool).scatter(1, target["positions"], target["chosen"])
    assert not (changed & ~chosen).any()
    fates = corrupted["ids"][chosen]
    assert (fates == 4).float().mean().item() == pytest.approx(0.8, abs=0.06)
    assert (fates == x["ids"][chosen]).float().mean().item() == pytest.approx(0.1, abs=0.05)


def test_masked_lm_never_chooses_special_tokens():
    cls, sep = 2, 3
    x = {"ids": torch.tensor([[cls, 7, 8, 9, 10, sep, 0, 0]] * 100), "mask": torch.arange(8).expand(100, 8) < 6}
    pretext = MaskedLM(DIM, 1000, mask_id=4, special_ids=[0, 1, 2, 3, 4], ratio=0.5)
    corrupted, target = pretext.corrupt(x, PRESENT)
    assert target["chosen"].sum(1).tolist() == [2] * 100  # half of the four words
    assert set(target["words"][target["chosen"]].tolist()) == {7, 8, 9, 10}
    assert corrupted["ids"][:, [0, 5]].tolist() == [[cls, sep]] * 100


def test_masked_lm_of_special_tokens_alone_predicts_nothing():
    x = {"ids": torch.tensor([[2, 3]]), "mask": torch.ones(1, 2, dtype=torch.bool)}
    corrupted, target = MaskedLM(DIM, 10, mask_id=4, special_ids=[2, 3]).corrupt(x, PRESENT)
    assert corrupted["ids"].tolist() == [[2, 3]]
    assert not target["chosen"].any()


def test_masked_lm_counts_the_chosen_positions_only():
    pretext = MaskedLM(2, vocab_size=2, mask_id=0)
    pretext.head = nn.Identity()  # the tokens are the logits
    tokens = torch.zeros(1, 4, 2)
    tokens[0, 1] = torch.tensor([0.0, 3.0])  # sure of word 1
    tokens[0, 2] = 1000.0  # not chosen
    target = {
        "positions": torch.tensor([[1, 3, 0]]),
        "words": torch.tensor([[1, 0, 1]]),
        "chosen": torch.tensor([[True, True, False]]),
    }
    expected = (torch.log1p(torch.tensor(-3.0).exp()) + torch.log(torch.tensor(2.0))) / 2
    assert pretext.loss(Features(torch.zeros(1, 2), tokens), target).item() == pytest.approx(expected.item())


def test_masked_lm_names_words_from_the_pooled_vector_where_there_are_no_tokens():
    pretext = MaskedLM(2, vocab_size=2, mask_id=0)
    pretext.head = nn.Identity()
    target = {
        "positions": torch.tensor([[1, 3]]),
        "words": torch.tensor([[0, 1]]),
        "chosen": torch.tensor([[True, True]]),
    }
    loss = pretext.loss(Features(torch.zeros(1, 2)), target)
    assert loss.item() == pytest.approx(torch.log(torch.tensor(2.0)).item())


@pytest.mark.parametrize("tokens", [True, False])
def test_masked_lm_teaches_an_encoder_with_and_without_tokens(tokens):
    learner, words = build_model("title", tokens=tokens), build_objective("title")
    words(learner, build_batch("title"))["loss"].backward()
    assert learner.encoder["title"].embed.weight.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in words.parameters())
