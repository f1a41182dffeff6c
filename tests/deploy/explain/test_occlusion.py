"""Parts of a modality are covered one by one."""

import torch

from mmrun.deploy.explain.occlusion import occlude, open_cover
from mmrun.types import ITEMS


def test_each_item_of_a_row_is_covered_and_padding_is_not():
    x = {"": torch.tensor([[[1.0], [2.0], [9.0]]]), ITEMS: torch.tensor([[True, True, False]])}

    def add_items(variants):
        return (variants[""].squeeze(-1) * variants[ITEMS]).sum(1)

    attribution = occlude(open_cover(ITEMS, x, torch.zeros(0), 0), add_items)
    assert attribution.values.tolist() == [1, 2]
    assert attribution.baseline_score == 0
