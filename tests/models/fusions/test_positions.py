"""Attention knows where tokens lie, unless it is told to read them as a set."""

import pytest
import torch
from torch import nn

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.fusions.attention import Attention, CrossAttention
from mmrun.models.fusions.positions import Positions, Rotary
from mmrun.types import Features, Fusion

FUSIONS = ["attention", "self_attention", "cross_attention", "bottleneck", "perceiver"]


def build(name: str, **values: object) -> Fusion:
    node = {**compose.load_option("fusion", name), "dim": 32, **values}
    return instantiate(node, "fusion", {"dims": {"image": 16}})


def fuse(fusion: Fusion, tokens: torch.Tensor) -> torch.Tensor:
    present = torch.ones(len(tokens), dtype=torch.bool)
    return fusion({"image": Features(tokens.mean(1), tokens)}, {"image": present})


@pytest.mark.parametrize("name", FUSIONS)
def test_the_quadrant_of_a_marked_token_is_learned(name):
    fusion = build(name)
    head = fusion.head(4)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.003)
    cell = torch.arange(16)  # of a grid of 4 x 4
    row, column = cell // 4, cell % 4
    quadrant = row // 2 * 2 + column // 2
    marked = torch.eye(16)[..., None] * torch.ones(16)  # [16 rows, 16 tokens, 16]: in each row, another token is ones
    for _ in range(400):
        output = head(fuse(fusion, marked))
        if output.argmax(1).equal(quadrant):
            break
        optimizer.zero_grad()
        nn.functional.cross_entropy(output, quadrant).backward()
        optimizer.step()
    assert output.argmax(1).tolist() == quadrant.tolist()


@pytest.mark.parametrize("name", FUSIONS)
def test_without_positions_tokens_are_a_set(name):
    tokens = torch.randn(2, 9, 16)
    with_positions, without = build(name), build(name, positions="none")
    torch.testing.assert_close(fuse(without, tokens.flip(1)), fuse(without, tokens))
    assert not torch.allclose(fuse(with_positions, tokens.flip(1)), fuse(with_positions, tokens), atol=1e-3)


def test_positions_differ_also_in_long_sequences():
    tokens = torch.zeros(1, 2000, 64), torch.ones(1, 2000, dtype=torch.bool)
    vectors = Positions(["audio"], dim=64)({"audio": tokens})["audio"][0][0]
    distances = torch.cdist(vectors, vectors).fill_diagonal_(torch.inf)
    assert distances.min() > 0.1


def test_other_values_are_rejected():
    with pytest.raises(ConfigError) as caught:
        Attention({"image": 3}, positions="rotary")
    assert str(caught.value) == "fusion.positions: 'rotary' is neither learned nor none"


# ------------------------------------------------------------------------------------------------------------- by time

WINDOWS = {"a": (0.0, 1.6), "b": (-3.0, 1.8)}  # s
NUM_TOKENS = {"a": 16, "b": 24}  # at 10 and 5 Hz
LAG = -1.5  # s from the pulse of a to that of b, in rows of class 1; in the others it is 0.6 s off


def draw_pulses(num_rows: int) -> tuple[dict[str, Features], torch.Tensor]:
    """Return two sequences of each row, in each of which there is a pulse, and the classes."""
    label = torch.arange(num_rows) % 2
    pulse = torch.rand(num_rows) * 1.6
    other_lag = LAG + torch.where(torch.rand(num_rows) < 0.5, -0.6, 0.6)
    pulses = {"a": pulse, "b": pulse + torch.where(label == 1, LAG, other_lag)}
    features = {}
    for name, (start, stop) in WINDOWS.items():
        spacing = (stop - start) / NUM_TOKENS[name]
        middles = start + spacing * (torch.arange(NUM_TOKENS[name]) + 0.5)
        distance = (middles - pulses[name][:, None]) / spacing
        bump = (-(distance**2)).exp()
        tokens = torch.stack([bump, distance * bump], dim=2) + 0.05 * torch.randn(*distance.shape, 2)
        features[name] = Features(tokens.mean(1), tokens)
    return features, label


def learn_lag(positions: str) -> float:
    """Return the accuracy on new rows after 160 steps."""
    torch.manual_seed(0)
    fusion = CrossAttention({"a": 2, "b": 2}, 32, 2, positions=positions, windows=WINDOWS)
    model = nn.ModuleList([fusion, nn.Linear(32, 2)])
    present = {name: torch.ones(64, dtype=torch.bool) for name in WINDOWS}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    for _ in range(160):
        features, label = draw_pulses(64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model[1](fusion(features, present)), label).backward()
        optimizer.step()
    features, label = draw_pulses(512)
    present = {name: torch.ones(512, dtype=torch.bool) for name in WINDOWS}
    return float((model[1](fusion(features, present)).argmax(1) == label).float().mean())


def test_a_constant_lag_between_streams_of_two_rates_is_learned():
    assert learn_lag("rotary") > 0.9
    assert learn_lag("learned") < 0.65


def test_only_differences_of_times_matter():
    features, _ = draw_pulses(4)
    present = {name: torch.ones(4, dtype=torch.bool) for name in WINDOWS}
    outputs = []
    for shifts in ((0, 0), (10, 10), (0, 1)):
        torch.manual_seed(0)
        windows = {
            name: (start + by, stop + by) for by, (name, (start, stop)) in zip(shifts, WINDOWS.items(), strict=True)
        }
        fusion = CrossAttention({"a": 2, "b": 2}, 32, 2, positions="rotary", windows=windows)
        outputs.append(fusion(features, present))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-4)
    assert (outputs[2] - outputs[0]).abs().max() > 1e-3


def test_real_tokens_share_the_window_evenly_and_other_modalities_lie_at_zero():
    rotary = Rotary(["sound", "image"], head_dim=2, windows={"sound": (0.0, 2.0)})
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    angles = rotary({"sound": (torch.zeros(2, 4, 8), mask), "image": (torch.zeros(2, 4, 8), mask)})
    times = angles["sound"][..., 0] / rotary.frequencies[0]
    torch.testing.assert_close(times[mask], torch.tensor([0.25, 0.75, 1.25, 1.75, 0.5, 1.5]))
    assert not angles["image"].any()


def test_without_windows_all_sequences_begin_and_end_together():
    mask = torch.ones(1, 2, dtype=torch.bool)
    angles = Rotary(["sound", "video"], head_dim=2)({"sound": (mask, mask), "video": (mask, mask)})
    assert angles["sound"].tolist() == angles["video"].tolist()


def test_heads_of_an_odd_width_cannot_be_rotated():
    with pytest.raises(ConfigError) as caught:
        CrossAttention({"image": 3}, dim=6, num_heads=2, positions="rotary")
    assert str(caught.value) == "fusion.positions: rotary needs an even fusion.dim / fusion.num_heads, not 3"
