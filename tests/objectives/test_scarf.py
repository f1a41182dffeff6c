"""SCARF: cells take values of other rows."""

import math

import pytest
import torch
from torch import nn

from mmrun.objectives.scarf import Scarf
from mmrun.types import Features

EYE = torch.eye(2)
BOTH = torch.tensor([True, True])


def build_cells(rows=300):
    torch.manual_seed(0)
    number = torch.arange(1.0, rows + 1)
    numeric = torch.stack([number, -number, number + 1000], 1)
    missing = torch.zeros(rows, 3, dtype=torch.bool)
    missing[::2, 1] = True
    return {
        "numeric": numeric.masked_fill(missing, 0),
        "missing": missing,
        "categorical": torch.stack([torch.arange(rows) % 7 + 1, torch.arange(rows) % 3 + 1], 1),
    }


def test_a_spoiled_cell_takes_the_value_of_its_column_in_another_row():
    x = build_cells()
    views, _ = Scarf(8, ratio=0.6).corrupt(x, torch.ones(300, dtype=torch.bool))
    for name, part in x.items():
        assert torch.equal(views[name][:300], part)  # the first view is the row itself
    copy = {name: part[300:] for name, part in views.items()}
    spoiled = copy["numeric"] != x["numeric"]
    assert spoiled[:, [0, 2]].float().mean().item() == pytest.approx(0.6, abs=0.05)
    for column in range(3):
        assert set(copy["numeric"][:, column].tolist()) <= set(x["numeric"][:, column].tolist())
    assert torch.equal(copy["missing"][:, 1], copy["numeric"][:, 1] == 0)  # a gap moves with its value
    changed = (copy["categorical"][:, 0] != x["categorical"][:, 0]).float().mean().item()
    assert changed == pytest.approx(0.6 * 6 / 7, abs=0.06)


def test_no_value_comes_from_a_row_that_is_not_there():
    x = build_cells()
    present = torch.arange(300) < 5
    views, _ = Scarf(8, ratio=1.0).corrupt(x, present)
    assert views["numeric"][300:, 0].max().item() == 5.0
    assert sorted(views["numeric"][300:305, 0].tolist()) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_row_finds_its_copy():
    pretext = Scarf(2)
    pretext.project = nn.Identity()
    loss = pretext.loss(Features(torch.cat([EYE, 5 * EYE])), BOTH)
    assert loss.tolist() == pytest.approx([math.log1p(math.exp(-1))] * 2)
