import torch

from mmrun.objectives.augmentations.tabular import AugmentTabular


def test_cells_go_missing_and_numbers_that_are_missing_stay_so():
    x = {
        "numeric": torch.tensor([[1.0, 0.0]]),
        "missing": torch.tensor([[False, True]]),
        "categorical": torch.tensor([[3]]),
    }
    noisy = AugmentTabular(0.1, 0.0)(x)
    assert noisy["numeric"][0, 0] != 1
    assert (noisy["numeric"][0, 1].item(), noisy["missing"].tolist()) == (0.0, [[False, True]])
    gone = AugmentTabular(0.1, 1.0)(x)
    assert [gone[part].tolist() for part in x] == [[[0.0, 0.0]], [[True, True]], [[0]]]
