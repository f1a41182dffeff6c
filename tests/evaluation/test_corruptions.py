import math

import pytest
import torch

from mmrun.evaluation import corruptions
from mmrun.evaluation.corruptions import CORRUPTIONS
from mmrun.types import KINDS

ALL = [(kind, name) for kind, named in CORRUPTIONS.items() for name in named]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(kind, rows=64):
    source = generator(9)
    lengths = torch.arange(rows) % 20 + 12
    return {
        "image": torch.rand(rows, 3, 16, 16, generator=source),
        "text": {
            "ids": torch.randint(5, 99, (rows, 32), generator=source) * (torch.arange(32) < lengths[:, None]),
            "mask": torch.arange(32) < lengths[:, None],
        },
        "audio": {
            "waveform": torch.randn(rows, 400, generator=source) * 0.1 * (torch.arange(400) < 10 * lengths[:, None]),
            "length": 10 * lengths,
        },
        "tabular": {
            "numeric": torch.randn(rows, 4, generator=source),
            "missing": torch.rand(rows, 4, generator=source) < 0.2,
            "categorical": torch.randint(1, 9, (rows, 3), generator=source),
        },
        "series": {
            "values": torch.randn(rows, 2, 40, generator=source) * (torch.arange(40) < lengths[:, None, None]),
            "mask": torch.arange(40) < lengths[:, None],
        },
        "points": {
            "points": torch.randn(rows, 4, 40, generator=source) * (torch.arange(40) < lengths[:, None, None]),
            "mask": torch.arange(40) < lengths[:, None],
        },
        "video": torch.rand(rows, 5, 1, 8, 8, generator=source),
    }[kind]


def parts(x):
    return x if isinstance(x, dict) else {"": x}


def same(x, y):
    return all(torch.equal(value, parts(y)[name]) for name, value in parts(x).items())


def test_every_kind_has_a_corruption():
    assert set(CORRUPTIONS) == set(KINDS)
    assert len(ALL) == 12


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_corruption_keeps_its_contract(kind, name):
    corrupt, x = CORRUPTIONS[kind][name], batch(kind)
    corrupted = corrupt(x, 0.4, generator())
    assert same(x, batch(kind))  # the input stays as it is
    assert same(corrupt(x, 0.0, generator()), x)
    assert not same(corrupted, x)
    assert same(corrupt(x, 0.4, generator()), corrupted)
    assert not same(corrupt(x, 0.4, generator(1)), corrupted)
    for part, value in parts(corrupt(x, 1.0, generator())).items():
        assert value.shape == parts(x)[part].shape
        assert value.dtype == parts(x)[part].dtype
        assert value.isfinite().all()


def test_gaussian_noise_has_the_requested_deviation():
    grey = torch.full((8, 1, 64, 64), 0.5)
    assert corruptions.add_gaussian_noise(grey, 0.1, generator()).std().item() == pytest.approx(0.1, rel=0.02)
    assert corruptions.add_gaussian_noise(grey, 0.8, generator()).amax().item() == 1.0


def test_occlusion_hides_that_share_of_the_area():
    black = torch.zeros(200, 3, 64, 64)
    hidden = corruptions.occlude(black, 0.25, generator())
    assert set(hidden.unique().tolist()) == {0.0, 0.5}
    assert (hidden > 0).float().mean().item() == pytest.approx(0.25, abs=0.001)
    assert (corruptions.occlude(black, 1.0, generator()) == 0.5).all()
    assert not hidden[0].equal(hidden[1])


@pytest.mark.parametrize(("severity", "decibels"), [(0.1, 19.08), (0.2, 12.04), (0.4, 3.52), (0.8, -12.04)])
def test_white_noise_has_the_requested_signal_to_noise_ratio(severity, decibels):
    sound = {"waveform": torch.randn(16, 4000, generator=generator(3)) * 0.01, "length": torch.full((16,), 3000)}
    sound["waveform"][:, 3000:] = 0
    noisy = corruptions.add_white_noise(sound, severity, generator())["waveform"]
    signal = (1 - severity) * sound["waveform"]
    ratio = signal.square().sum() / (noisy - signal).square().sum()
    assert 10 * math.log10(ratio) == pytest.approx(decibels, abs=0.2)
    assert not noisy[:, 3000:].any()


def test_silence_stays_silent():
    silence = {"waveform": torch.zeros(2, 50), "length": torch.tensor([50, 0])}
    assert same(corruptions.add_white_noise(silence, 0.8, generator()), silence)


def test_dropped_tokens_leave_no_gaps_and_the_first_is_kept():
    ids = torch.tensor([[2, 7, 8, 9, 0, 0], [2, 5, 0, 0, 0, 0]])
    dropped = corruptions.drop_tokens({"ids": ids, "mask": ids > 0}, 1.0, generator())
    assert dropped["mask"].tolist() == [[True] + [False] * 5] * 2
    assert dropped["ids"][:, 0].tolist() == [2, 2]
    longer = batch("text", 400)
    shorter = corruptions.drop_tokens(longer, 0.25, generator())
    share = (shorter["mask"].sum() - 400) / (longer["mask"].sum() - 400)
    assert share.item() == pytest.approx(0.75, abs=0.02)
    rows = zip(longer["ids"], shorter["ids"], longer["mask"], shorter["mask"], strict=True)
    for before, after, mask_before, mask_after in rows:
        assert mask_after.tolist() == sorted(mask_after.tolist(), reverse=True)
        tokens = iter(before[mask_before].tolist())
        assert all(token in tokens for token in after[mask_after].tolist())  # in the same order


def test_replaced_tokens_come_from_the_texts_of_the_batch():
    text = batch("text", 400)
    replaced = corruptions.replace_tokens(text, 0.5, generator())
    assert replaced["mask"].equal(text["mask"])
    assert replaced["ids"][:, 0].equal(text["ids"][:, 0])
    assert replaced["ids"][~text["mask"]].equal(text["ids"][~text["mask"]])
    changed = (replaced["ids"] != text["ids"]).sum() / (text["mask"].sum() - 400)
    assert changed.item() == pytest.approx(0.5, abs=0.02)
    assert set(replaced["ids"].unique().tolist()) <= set(text["ids"].unique().tolist())


def test_replacing_where_no_row_has_a_text_does_nothing():
    nothing = {"ids": torch.zeros(3, 5, dtype=torch.int64), "mask": torch.zeros(3, 5, dtype=torch.bool)}
    assert same(corruptions.replace_tokens(nothing, 0.5, generator()), nothing)


def test_permuted_cells_stay_in_their_column_with_their_flag():
    table = batch("tabular", 300)
    mixed = corruptions.permute_cells(table, 1.0, generator())
    for part in table:
        assert mixed[part].sort(dim=0).values.equal(table[part].sort(dim=0).values)
    cells = set(zip(table["numeric"].flatten().tolist(), table["missing"].flatten().tolist(), strict=True))
    assert set(zip(mixed["numeric"].flatten().tolist(), mixed["missing"].flatten().tolist(), strict=True)) == cells
    some = corruptions.permute_cells(table, 0.2, generator())["numeric"] != table["numeric"]
    assert some.float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_cell_noise_keeps_missing_numbers_and_makes_categories_unknown():
    table = batch("tabular", 300)
    noisy = corruptions.add_cell_noise(table, 0.4, generator())
    assert noisy["numeric"][table["missing"]].equal(table["numeric"][table["missing"]])
    assert (noisy["categorical"] == 0).float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert (corruptions.add_cell_noise(table, 1.0, generator())["categorical"] == 0).all()


def test_a_table_without_numbers_or_without_categories_is_corrupted_too():
    for empty, filled in (("numeric", "categorical"), ("categorical", "numeric")):
        table = batch("tabular")
        table[empty] = table[empty][:, :0]
        if empty == "numeric":
            table["missing"] = table["missing"][:, :0]
        for corrupt in CORRUPTIONS["tabular"].values():
            assert not corrupt(table, 0.5, generator())[filled].equal(table[filled])
