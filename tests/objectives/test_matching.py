import math

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.tabular import Mlp
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.matching import Matching, draw_donors, select_rows
from mmrun.testing.examples import DIMS, KINDS, TASKS, ConcatFusion, build_batch, build_model
from mmrun.types import Batch, Features


def test_in_each_row_one_modality_comes_from_another_row():
    torch.manual_seed(0)
    present = torch.ones(50, 3, dtype=torch.bool)
    donors, valid = draw_donors(present)
    foreign = donors != torch.arange(50).unsqueeze(1)
    assert valid.all()
    assert foreign.sum(1).tolist() == [1] * 50
    assert foreign.sum(0).min() > 8  # each modality has its turn


def test_a_donor_has_the_modality_and_a_row_with_but_one_is_left_out():
    torch.manual_seed(0)
    present = torch.rand(200, 3) < 0.5
    donors, valid = draw_donors(present)
    assert torch.equal(valid, present.sum(1) > 1)
    rows, modalities = (donors != torch.arange(200).unsqueeze(1)).nonzero(as_tuple=True)
    assert rows.tolist() == valid.nonzero().flatten().tolist()
    assert present[rows, modalities].all()
    assert present[donors[rows, modalities], modalities].all()


def test_what_only_one_row_has_cannot_be_exchanged():
    present = torch.tensor([[True, True], [True, False], [False, False]])
    for seed in range(5):
        torch.manual_seed(seed)
        donors, valid = draw_donors(present)
        assert donors.tolist() == [[1, 0], [1, 1], [2, 2]]  # no other row has the second modality
        assert valid.tolist() == [True, False, False]
    donors, valid = draw_donors(present[:, :1] & torch.tensor([True, False]))
    assert not valid.any()


class Fixed(nn.Module):
    """A head with the same logit for every row."""

    def forward(self, fused):
        return torch.full((len(fused), 1), 2.0)


def test_the_loss_is_that_of_a_yes_to_true_and_a_no_to_exchanged_rows():
    objective = Matching(KINDS, DIMS, 6)
    objective.matching_head = Fixed()
    losses = objective(build_model(), build_batch())
    yes, no = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    assert losses["loss/true"].item() == pytest.approx(yes)
    assert losses["loss/exchanged"].item() == pytest.approx(no)
    assert losses["loss"].item() == pytest.approx((yes + no) / 2)


def test_it_learns_to_tell_rows_that_belong_together():
    """Two tables whose signs agree; evaluated on rows that training did not see."""
    torch.manual_seed(0)
    encoders = {name: Mlp(2, [], dims=[12], dropout=0.0) for name in ("a", "b")}
    learner = Multimodal(encoders, ConcatFusion(["a", "b"]), TASKS)
    objective = Matching(dict.fromkeys("ab", "tabular"), dict.fromkeys("ab", 12), 6)
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=1e-2)

    def draw_signs(n):
        sign = torch.randint(0, 2, (n, 1)) * 2.0 - 1
        return {name: sign * (0.5 + torch.rand(n, 2)) for name in "ab"}

    def build_rows(numbers):
        n = len(numbers["a"])
        other_parts = {
            "missing": torch.zeros(n, 2, dtype=torch.bool),
            "categorical": torch.zeros(n, 0, dtype=torch.int64),
        }
        present = dict.fromkeys("ab", torch.ones(n, dtype=torch.bool))
        return Batch({k: {"numeric": v, **other_parts} for k, v in numbers.items()}, present, {}, torch.arange(n))

    for _ in range(150):
        optimizer.zero_grad()
        objective(learner, build_rows(draw_signs(64)))["loss"].backward()
        optimizer.step()
    numbers = draw_signs(200)
    numbers["b"][100:] *= -1  # now these do not belong together
    data = build_rows(numbers)
    logits = objective.matching_head(learner.fusion(learner.encode(data.inputs), data.present)).squeeze(1)
    assert (logits[:100] > logits[100:].max()).float().mean() == 1.0


def test_tokens_and_masks_are_exchanged_with_the_pooled_vector():
    tokens, mask = torch.arange(6.0).view(3, 2, 1), torch.tensor([[True, True], [True, False], [True, True]])
    taken = select_rows(Features(torch.arange(3.0).view(3, 1), tokens, mask), torch.tensor([1, 2, 0]))
    assert taken.pooled.flatten().tolist() == [1, 2, 0]
    assert taken.tokens.flatten().tolist() == [2, 3, 4, 5, 0, 1]
    assert taken.mask.tolist() == [[True, False], [True, True], [True, True]]


def test_it_needs_all_modalities_and_more_than_one():
    with pytest.raises(ConfigError) as caught:
        Matching({"photo": "image"}, DIMS, 6)
    assert (
        str(caught.value)
        == "objective: the fusion needs every modality, but for_each gives the stage only one; drop either"
    )
    with pytest.raises(ConfigError) as caught:
        Matching({"photo": "image"}, {"photo": 12}, 6)
    assert str(caught.value) == "objective: matching needs two modalities, and the model has only photo"
