import json

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.data.store import MappedColumn
from mmrun.training.features import open_features, stored_size
from mmrun.types import Encoder, Features

ROWS = np.array([1, 4, 5, 9, 30, 31, 32, 63])


class Sequence(Encoder):
    kind, dim = "series", 5

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.calls = nn.Linear(3, 5), 0

    def forward(self, x):
        self.calls += 1
        tokens = self.net(x)  # [B, T, D]
        return Features(tokens.mean(1), tokens, x[..., 0] > 0)


def made(folder, names=("pooled", "tokens", "mask"), batch_size=3, autocast="no"):
    torch.manual_seed(1)
    inputs = torch.randn(64, 4, 3)
    present = np.arange(64) != 5
    encoder, accelerator = Sequence().eval().requires_grad_(False), Accelerator(cpu=True, mixed_precision=autocast)
    with accelerator.autocast():
        given = encoder(inputs)._asdict()
    parts = {name: given[name][:2] for name in names}
    column = MappedColumn({"": inputs}, present, {})
    encoder.calls = 0
    told = []
    kept = open_features(
        encoder, "sensor", column, ROWS, parts, folder / "key", batch_size, accelerator, lambda: told.append(1)
    )
    return kept, given, encoder, told


@pytest.fixture(autouse=True)
def _fresh():
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()


def test_rows_are_found_by_their_numbers_in_the_data_set(tmp_path):
    kept, given, encoder, told = made(tmp_path)
    rows = torch.tensor([63, 4, 5, 4])
    found = kept.gather(rows)
    assert list(found) == ["pooled", "tokens", "mask"]
    for name, part in found.items():
        assert part.dtype == given[name].dtype
        torch.testing.assert_close(part, given[name][rows], atol=1e-6, rtol=0)
    assert kept.present[rows].tolist() == [True, True, False, True]
    assert encoder.calls == len(told) == 3  # batches of 3, 3 and 2
    assert stored_size(ROWS, given) == 8 * (5 * 4 + 4 * 5 * 4 + 4)


def test_they_are_computed_once_and_mapped(tmp_path):
    kept, _, _, _ = made(tmp_path, names=("pooled",))
    again, _, encoder, told = made(tmp_path, names=("pooled",))
    assert encoder.calls == len(told) == 0
    assert again.parts["pooled"].equal(kept.parts["pooled"])
    assert again.meta == kept.meta
    assert sorted(path.name for path in (tmp_path / "key").iterdir()) == ["digests.json", "meta.json", "pooled.npy"]
    assert json.loads((tmp_path / "key/meta.json").read_text())["about"] == "sensor, 8 rows, pooled"


def test_bfloat16_is_kept_as_it_is(tmp_path):
    kept, given, _, _ = made(tmp_path, batch_size=64, autocast="bf16")
    tokens = kept.gather(torch.from_numpy(ROWS))["tokens"]
    assert tokens.dtype == torch.bfloat16
    assert tokens.equal(given["tokens"][ROWS])


def test_half_a_computation_is_never_read(tmp_path, monkeypatch):
    def dies(self, x):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        given = Sequence().eval().requires_grad_(False)(torch.randn(2, 4, 3))._asdict()
        patch.setattr(Sequence, "forward", dies)
        column = MappedColumn({"": torch.randn(64, 4, 3)}, np.ones(64, bool), {})
        arguments = (ROWS, given, tmp_path / "key", 3, Accelerator(cpu=True), lambda: None)
        with pytest.raises(KeyboardInterrupt):
            open_features(Sequence(), "sensor", column, *arguments)
    assert list(tmp_path.iterdir()) == []
    assert made(tmp_path)[2].calls == 3
