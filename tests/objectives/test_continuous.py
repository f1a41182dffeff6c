"""The part of an input that can be perturbed, and what stays as it is."""

import torch

from mmrun.objectives.continuous import add_noise, get_continuous_parts, perturb
from mmrun.types import Batch

KINDS = {"photo": "image", "sound": "audio", "cells": "tabular", "words": "text"}


def build_batch():
    inputs = {
        "photo": torch.full((2, 1, 1, 2), 0.75),
        "sound": {"waveform": torch.full((2, 3), 0.5), "length": torch.tensor([3, 1])},
        "cells": {"numeric": torch.zeros(2, 2), "missing": torch.tensor([[False, True], [False, False]])},
        "words": {"ids": torch.tensor([[5], [6]])},
    }
    present = {"photo": torch.tensor([True, False]), **{m: torch.ones(2, dtype=torch.bool) for m in list(inputs)[1:]}}
    return Batch(inputs, present, {}, torch.arange(2))


def test_words_have_no_continuous_part():
    assert {m: part.shape for m, part in get_continuous_parts(build_batch(), KINDS).items()} == {
        "photo": (2, 1, 1, 2),
        "sound": (2, 3),
        "cells": (2, 2),
    }


def test_padding_missing_cells_and_missing_modalities_do_not_change():
    batch = build_batch()
    changes = {"photo": torch.full((2, 1, 1, 2), -0.5), "sound": torch.ones(2, 3), "cells": torch.ones(2, 2)}
    perturbed = perturb(batch, KINDS, changes).inputs
    assert perturbed["photo"].flatten(1).tolist() == [[0.25, 0.25], [0.75, 0.75]]
    assert perturbed["sound"]["waveform"].tolist() == [[1.0, 1.0, 1.0], [1.0, 0.5, 0.5]]  # clamped at 1
    assert perturbed["cells"]["numeric"].tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert batch.inputs["cells"]["numeric"].tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_points_that_pad_a_cloud_do_not_move():
    clouds = {"points": torch.zeros(2, 3, 2), "mask": torch.tensor([[True, False], [True, True]])}
    batch = Batch({"lidar": clouds}, {"lidar": torch.tensor([True, False])}, {}, torch.arange(2))
    perturbed = perturb(batch, {"lidar": "points"}, {"lidar": torch.ones(2, 3, 2)}).inputs["lidar"]["points"]
    assert perturbed.tolist() == [[[1, 0]] * 3, [[0, 0]] * 3]


def test_noise_has_the_deviation_of_its_kind():
    torch.manual_seed(0)
    batch = build_batch()
    batch.inputs["cells"] = {"numeric": torch.zeros(2, 5000), "missing": torch.zeros(2, 5000, dtype=torch.bool)}
    noisy = add_noise(batch, KINDS, {"tabular": 0.3}).inputs
    assert abs(noisy["cells"]["numeric"].std().item() - 0.3) < 0.01
    assert noisy["photo"].equal(batch.inputs["photo"])
