import pytest
import torch
from torch import nn

from mmrun.objectives.denoise import DenoiseSeries, DenoiseTabular
from mmrun.testing.examples import DIM
from mmrun.types import Features
from tests.objectives.single import PRESENT, Fixed


def build_cells():
    return {
        "numeric": torch.tensor([[1.0, 0.0]]),
        "missing": torch.tensor([[False, True]]),
        "categorical": torch.tensor([[2, 0]]),
    }


def test_denoise_tabular_takes_cells_away_as_if_they_were_missing():
    pretext = DenoiseTabular(DIM, 2, [3, 4], ratio=1.0)
    corrupted, _ = pretext.corrupt(build_cells(), PRESENT)
    assert corrupted["numeric"].tolist() == [[0.0, 0.0]]
    assert corrupted["missing"].tolist() == [[True, True]]
    assert corrupted["categorical"].tolist() == [[0, 0]]
    corrupted, _ = DenoiseTabular(DIM, 2, [3, 4], ratio=0.0).corrupt(build_cells(), PRESENT)
    assert corrupted["numeric"][0, 0] != 1.0  # noise
    assert corrupted["numeric"][0, 1] == 0.0  # none on missing cells
    assert corrupted["missing"].tolist() == [[False, True]]
    assert corrupted["categorical"].tolist() == [[2, 0]]


def test_denoise_tabular_counts_the_cells_that_have_a_value():
    pretext = DenoiseTabular(9, 2, [3, 4])
    pretext.decoder = nn.Identity()  # the pooled vector is 2 numbers, 3 and 4 logits
    pooled = torch.zeros(1, 9)
    pooled[0, 0], pooled[0, 1], pooled[0, 5] = 3.0, 50.0, 60.0  # the second number and category are missing
    expected = ((3 - 1) ** 2 + torch.log(torch.tensor(3.0))) / 2
    assert pretext.loss(Features(pooled), build_cells()).item() == pytest.approx(expected.item())


def test_denoise_tabular_of_numbers_alone_or_categories_alone():
    numbers = {"numeric": torch.ones(2, 3), "missing": torch.zeros(2, 3, dtype=torch.bool)}
    for pretext, x in (
        (DenoiseTabular(DIM, 3, []), {**numbers, "categorical": torch.zeros(2, 0, dtype=torch.int64)}),
        (
            DenoiseTabular(DIM, 0, [3]),
            {
                "numeric": torch.zeros(2, 0),
                "missing": torch.zeros(2, 0, dtype=torch.bool),
                "categorical": torch.ones(2, 1, dtype=torch.int64),
            },
        ),
    ):
        _, target = pretext.corrupt(x, PRESENT)
        assert pretext.loss(Features(torch.randn(2, DIM)), target).isfinite().all()


def test_denoise_series_hides_spans_in_all_channels():
    x = {"values": torch.rand(50, 3, 32) + 1, "mask": torch.ones(50, 32, dtype=torch.bool)}
    corrupted, target = DenoiseSeries(DIM, 3, 32, ratio=0.4, spans=16).corrupt(x, PRESENT)
    hidden = (corrupted["values"] == 0).unflatten(2, (16, 2))
    assert torch.equal(hidden.all(-1).all(1), hidden.any(-1).any(1))
    assert hidden.float().mean().item() == pytest.approx(0.4, abs=0.06)
    assert target["values"] is x["values"]
    assert torch.equal(target["hidden"], hidden.any(-1)[:, 0].repeat_interleave(2, 1))


def test_denoise_series_counts_the_hidden_steps_only():
    pretext = DenoiseSeries(DIM, 1, 4)
    pretext.decoder = Fixed(torch.tensor([[[[1.0, 1.0, 9.0, 9.0]]]]))
    hidden = torch.tensor([[True, True, False, False]])
    target = {"values": torch.tensor([[[1.0, 3.0, 0.0, 0.0]]]), "hidden": hidden}
    assert pretext.loss(Features(torch.zeros(1, DIM)), target).tolist() == [2.0]  # (0 + 4) / 2


def test_denoise_series_always_hides_a_step_that_is_no_padding():
    x = {"values": torch.rand(50, 1, 32) + 1, "mask": (torch.arange(32) < 5).expand(50, 32)}
    _, target = DenoiseSeries(DIM, 1, 32, ratio=0.01).corrupt(x, PRESENT)
    assert target["hidden"].any(1).all()
    assert not target["hidden"][:, 5:].any()
