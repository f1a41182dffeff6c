"""The choice of a pretext by kind, in YAML files and on the shell; and what several pretexts share."""

import pytest
import torch

from mmrun.compose import list_options, load
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.objectives.pretext import (
    GridDecoder,
    Pretext,
    check_positive,
    check_share,
    concat_views,
    draw_hidden_blocks,
    draw_hidden_spans,
)
from mmrun.testing.examples import DIM, ENCODER_METADATA, KINDS
from mmrun.types import KINDS as ALL_KINDS
from tests.options import load_option

DEFAULT = load_option("objective", "self_supervised")
CHANGES = {  # the kinds whose pretext an objective of the same name changes
    "autoencoder": ["image"],
    "vae": ["image"],
    "mae": ["image"],
    "simclr": ["image"],
    "byol": ["image"],
    "causal_lm": ["text"],
    "contrastive_audio": ["audio"],
    "scarf": ["tabular"],
    "dino": [*KINDS.values(), "points"],
    "moco": [*KINDS.values(), "points"],
    "data2vec": list(KINDS.values()),
    "wav2vec2": ["audio", "series"],
    "frame_order": ["video"],
}


def test_every_kind_has_pretexts_and_each_can_be_built():
    assert set(DEFAULT["by_kind"]) == set(ALL_KINDS)
    for kind in ALL_KINDS:
        names = list_options(f"pretext/{kind}")
        assert names
        for name in names:
            node = load_option(f"pretext/{kind}", name)
            assert isinstance(instantiate(node, "pretext", {"dim": DIM, **ENCODER_METADATA[kind]}), Pretext)


def test_every_pretext_has_an_objective():
    listed = {(kind, name) for kind in ALL_KINDS for name in list_options(f"pretext/{kind}")}
    default = {
        (kind, name) for kind, name in listed if load_option(f"pretext/{kind}", name) == DEFAULT["by_kind"][kind]
    }
    assert {(kind, name) for name, kinds in CHANGES.items() for kind in kinds} == listed - default


@pytest.mark.parametrize("name", CHANGES)
def test_an_objective_changes_some_kinds_and_leaves_the_others(name):
    changed = {kind: load_option(f"pretext/{kind}", name) for kind in CHANGES[name]}
    assert load_option("objective", name) == {**DEFAULT, "by_kind": {**DEFAULT["by_kind"], **changed}}


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_chosen_on_the_shell(name):
    config = load(["strategy=component", f"strategy.stages.pretrain.objective={name}"])
    assert config.strategy.stages["pretrain"].objective == load_option("objective", name)


def test_two_kinds_are_chosen_on_the_shell():
    key_path = "strategy.stages.pretrain.objective"
    overrides = [
        f"{key_path}=simclr",
        f"{key_path}.by_kind.text=causal_lm",
        f"{key_path}.by_kind.image.flip=0",
    ]
    objective = load(["strategy=component", *overrides]).strategy.stages["pretrain"].objective
    assert objective["by_kind"]["image"] == {**load_option("pretext/image", "simclr"), "flip": 0}
    assert objective["by_kind"]["text"] == load_option("pretext/text", "causal_lm")
    assert objective["by_kind"]["audio"] == DEFAULT["by_kind"]["audio"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 100), (28, 28), (33, 17)])
def test_a_pooled_vector_becomes_a_grid_of_any_size(height, width):
    assert GridDecoder(6, 3, height, width)(torch.zeros(2, 6)).shape == (2, 3, height, width)


def test_blocks_are_hidden_whole():
    torch.manual_seed(0)
    hidden = draw_hidden_blocks(torch.zeros(100, 1), 0.5, grid=(2, 2), size=(4, 4))
    blocks = hidden.view(100, 2, 2, 2, 2).transpose(2, 3).flatten(3)  # [rows, 2, 2, cells of a block]
    assert (blocks.all(3) | ~blocks.any(3)).all()
    assert hidden.float().mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("steps", [1, 5, 16, 33])
def test_spans_are_hidden_whole_and_one_at_least(steps):
    torch.manual_seed(0)
    real = torch.arange(steps) < torch.tensor([[steps], [1], [0]]).repeat(100, 1)
    hidden = draw_hidden_spans(real, 0.1, spans=4)
    span = torch.arange(steps) * 4 // steps
    for number in span.unique():
        inside = hidden[:, span == number]
        assert torch.equal(inside.all(1), inside.any(1))
    assert (hidden & real).any(1).tolist() == [True, True, False] * 100  # the last rows are padding alone


def test_two_views_are_one_input():
    first, second = {"ids": torch.tensor([[1]])}, {"ids": torch.tensor([[2]])}
    assert concat_views(first, second)["ids"].tolist() == [[1], [2]]
    assert concat_views(first["ids"], second["ids"]).tolist() == [[1], [2]]


def test_values_out_of_range_name_the_key():
    with pytest.raises(ConfigError) as caught:
        check_share(1.5, "image")
    assert str(caught.value) == "objective.by_kind.image.ratio: 1.5 is not between 0 and 1"
    with pytest.raises(ConfigError) as caught:
        check_positive(0, "text", "temperature")
    assert str(caught.value) == "objective.by_kind.text.temperature: 0 is not above 0"
