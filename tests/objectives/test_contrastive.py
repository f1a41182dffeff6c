import math

import pytest
import torch
from five_kinds import DIMS, batch, model

from mmrun.errors import ConfigError
from mmrun.objectives.contrastive import Contrastive, InfoNCE, PairwiseSigmoid

EYE = torch.eye(2)
BOTH = torch.tensor([True, True])
MATCH = math.log(math.e + 1) - 1  # softplus(-1): a similarity of 1 against one of 0


def three(pair_loss=InfoNCE):
    torch.manual_seed(1)
    kinds = {"photo": "image", "title": "text", "cells": "tabular"}
    return Contrastive(pair_loss, kinds, DIMS, dim=16)


def test_info_nce_of_two_rows_that_match():
    assert InfoNCE(temperature=1.0)(EYE, EYE, BOTH).item() == pytest.approx(MATCH)


def test_info_nce_looks_both_ways():
    a, b = (
        torch.tensor([[1.0], [0.0]]),
        torch.tensor([[1.0], [1.0]]),
    )  # logits [[1, 1], [0, 0]], transposed [[1, 0], ...]
    there, back = math.log(2), (MATCH + MATCH + 1) / 2
    assert InfoNCE(temperature=1.0)(a, b, BOTH).item() == pytest.approx((there + back) / 2)


def test_pairwise_sigmoid_of_two_rows_that_match():
    loss = PairwiseSigmoid(temperature=1.0, bias=0.0)(EYE, EYE, BOTH)
    assert loss.item() == pytest.approx(MATCH + math.log(2))


@pytest.mark.parametrize("pair", [InfoNCE(), PairwiseSigmoid()])
def test_a_row_that_lacks_a_half_is_neither_asked_nor_offered(pair):
    torch.manual_seed(0)
    a, b = torch.randn(2, 4, 3)
    whole = pair(a[:3], b[:3], torch.tensor([True, True, True]))
    assert pair(a, b, torch.tensor([True, True, True, False])).item() == pytest.approx(whole.item())
    assert pair(a, b, torch.zeros(4, dtype=torch.bool)).item() == 0.0


def test_every_pair_of_modalities_counts_the_same():
    losses = three()(model("photo", "title", "cells"), batch("photo", "title", "cells"))
    parts = ["loss/photo-title", "loss/photo-cells", "loss/title-cells"]
    assert list(losses) == ["loss", *parts]
    assert losses["loss"].item() == pytest.approx(sum(losses[part].item() for part in parts) / 3)


@pytest.mark.parametrize("pair_loss", [InfoNCE, PairwiseSigmoid])
def test_rows_find_their_other_halves(pair_loss):
    learner, data, objective = model("photo", "title", "cells"), batch("photo", "title", "cells"), three(pair_loss)
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
    features = learner.encode(data.inputs)
    photo, cells = (objective.project[name](features[name].pooled) for name in ("photo", "cells"))
    similarity = torch.nn.functional.normalize(photo) @ torch.nn.functional.normalize(cells).T
    assert similarity.argmax(1).tolist() == list(range(8))


def test_one_modality_is_no_pair():
    with pytest.raises(ConfigError) as caught:
        Contrastive(InfoNCE, {"photo": "image"}, DIMS)
    assert str(caught.value) == "objective: contrast needs two modalities, and here is only photo"
